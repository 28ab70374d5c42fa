"""Fifty steps of every optimizer and building block beside its reference, Optax and torch.

The runs themselves, and what is compared, are in `tests/oracles/optimizers_trajectory.py`.
"""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from tests.oracles.optimizers import BLOCK_RATE, FALLING_RATE, RISING_MOMENTUM, adamw
from tests.oracles.optimizers_trajectory import (
    FLOAT32,
    SHAPES,
    START,
    STEPS,
    Leafwise,
    Row,
    Scheduled,
    all_rows,
    deviation,
    gradient,
    run_changed_reference,
    run_gradx,
    run_optax,
    run_reference,
    run_torch,
)

FLOAT64 = 1e-12
"""Against the reference. Rounding makes 1e-14 in 50 steps; one number rounded to float32 on the way makes 1e-8."""
FELT = 1e-3
"""What a change of 5 % in a hyperparameter must move the reference by at least: a hundred times FLOAT32."""

ROWS = all_rows()
BY_NAME = {row.name: row for row in ROWS}
FLOATS_WITHOUT_TRAJECTORY = {
    "add_noise",
    "noisy_sgd",
    "hutchinson_estimator_diag_hessian",
    "differentially_private_aggregate",
    "dpsgd",
}
"""Random: its moments are tested below."""


def with_peer(peer: str) -> Callable:
    return pytest.mark.parametrize("row", [row for row in ROWS if getattr(row, peer) is not None], ids=str)


def test_row_names_differ():
    assert len(BY_NAME) == len(ROWS)


LOOKS_ON = {"snapshot", "monitor", "measure_with_ema"}
"""They leave the updates as they are."""


def test_every_algorithm_has_a_row():
    modules = ("gradx.optimizers.", "gradx.transforms.", "gradx.wrappers.", "gradx.recipes.")
    public = {
        name
        for name, x in vars(gradx).items()
        if inspect.isfunction(x) and x.__module__.startswith(modules) and hasattr(x, "__wrapped__")
    }
    assert {"adamw", "clip", "sgd", "sam", "schedule_free_adamw"} <= public
    covered = {name.split(",")[0].split(" ")[0] for name in BY_NAME}
    assert public - covered - FLOATS_WITHOUT_TRAJECTORY - LOOKS_ON == set()


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_float64_follows_the_reference(row: Row):
    with jax.enable_x64(True):
        path = run_gradx(row, np.float64)
    assert all(x.dtype == np.float64 for x in path[-1].values())
    assert deviation(path, run_reference(row)) <= FLOAT64


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_float32_follows_the_reference(row: Row):
    path = run_gradx(row, np.float32)
    assert all(x.dtype == np.float32 for x in path[-1].values())
    assert deviation(path, run_reference(row)) <= row.float32


@with_peer("optax")
def test_float32_follows_optax(row: Row):
    assert deviation(run_gradx(row, np.float32), run_optax(row, np.float32)) <= row.float32


@with_peer("torch")
def test_float32_follows_torch(row: Row):
    assert deviation(run_gradx(row, np.float32), run_torch(row)) <= row.float32


PROMISED = 1e-6
"""What the kept table may show in float64 at most, wider than the bound above."""


def kept_table() -> dict[str, dict]:
    """Return the rows of the table of deviations, which `python -m benchmarks.deviations optimizers` writes."""
    table = Path(__file__).parents[1] / "benchmarks" / "results" / "deviations_optimizers.json"
    return {row["name"]: row for row in json.loads(table.read_text())["rows"]}


def test_the_kept_table_holds_what_is_promised():
    """A larger number is a fault, or an old table."""
    for name, row in kept_table().items():
        assert row["float64"] <= PROMISED, name
        for column in ("float32", "float32_optax", "float32_torch"):
            assert row[column] is None or row[column] <= BY_NAME[name].float32, f"{name}: {column}"


def test_the_kept_table_has_every_row_and_every_peer():
    table = kept_table()
    assert table.keys() == BY_NAME.keys()
    for name, row in BY_NAME.items():
        assert (table[name]["optax"] is None) == (row.optax is None), name
        assert (table[name]["torch"] is None) == (row.torch is None), name


def _changed(x: Any) -> Any:
    if isinstance(x, bool):
        return not x
    if isinstance(x, Scheduled):
        return lambda n: 0.95 * x.value(n)
    return 0.95 * x if x else 0.05


FELT_ARGUMENTS = [
    (row, name) for row in ROWS for name, x in row.hyper.items() if isinstance(x, bool | float | Scheduled)
]


@pytest.mark.parametrize(("row", "name"), FELT_ARGUMENTS, ids=lambda x: str(x))
def test_trajectory_feels_the_hyperparameter(row: Row, name: str):
    # Else a row could pass with this argument forgotten, or at another place in the formula.
    changed = run_changed_reference(row, **{name: _changed(row.hyper[name])})
    assert deviation(changed, run_reference(row)) >= FELT


@pytest.mark.parametrize("name", sorted({row.name for row in ROWS} - {"set_to_zero"}))
def test_trajectory_goes_somewhere(name: str):
    last = run_reference(BY_NAME[name])[-1]
    assert all(np.all(np.abs(last[leaf] - START[leaf]) > 0) for leaf in SHAPES)


def test_nesterov_is_sutskevers_look_ahead():
    # Eq. 3-4 with the gradient taken at theta + mu v; the parameters of `sgd` are those look-ahead points.
    mu, rate = 0.8, 0.05
    theta = {name: x.copy() for name, x in START.items()}
    v = {name: np.zeros_like(x) for name, x in START.items()}
    path = []
    for step in range(STEPS):
        g = gradient({name: theta[name] + mu * v[name] for name in theta}, step)
        v = {name: mu * v[name] - rate * g[name] for name in v}
        theta = {name: theta[name] + v[name] for name in theta}
        path.append({name: theta[name] + mu * v[name] for name in theta})
    with jax.enable_x64(True):
        assert deviation(run_gradx(BY_NAME["sgd, Nesterov"], np.float64), path) <= FLOAT64


def test_injected_hyperparameters_follow_the_reference():
    hyper = {"learning_rate": FALLING_RATE, "b1": RISING_MOMENTUM, "weight_decay": 0.1, "eps": 1e-2}

    def ours() -> Any:
        arguments = {name: h.ours(gradx) if isinstance(h, Scheduled) else h for name, h in hyper.items()}
        return gradx.inject_hyperparams(gradx.adamw, hyperparam_dtype="float64")(**arguments)

    plain = {name: h.value if isinstance(h, Scheduled) else h for name, h in hyper.items()}
    row = Row("injected adamw", ours, lambda: Leafwise(adamw, **plain))
    with jax.enable_x64(True):
        assert deviation(run_gradx(row, np.float64), run_reference(row)) <= FLOAT64


# Where gradx departs from Optax, as its docstrings say.


def test_centralize_averages_over_the_inputs_of_flax_kernels():
    optax = pytest.importorskip("optax")
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
    ours, _ = gradx.centralize().update({"w": kernel}, gradx.centralize().init({"w": kernel}))
    assert np.max(np.abs(np.mean(ours["w"], axis=(0, 1, 2)))) <= 1e-7
    # Optax's units lie along the first axis: the same on the transposed kernel, and something else on this one.
    theirs = optax.centralize()
    turned, _ = theirs.update({"w": np.moveaxis(kernel, -1, 0)}, theirs.init({"w": kernel}))
    np.testing.assert_allclose(np.moveaxis(turned["w"], 0, -1), ours["w"], atol=1e-6)
    straight, _ = theirs.update({"w": kernel}, theirs.init({"w": kernel}))
    assert np.max(np.abs(straight["w"] - ours["w"])) > 0.1


def test_adadelta_descends_by_default():
    optax = pytest.importorskip("optax")
    params = {"w": np.array([1.0, -2.0], np.float32)}
    tx, peer = gradx.adadelta(), optax.adadelta()
    ours, _ = tx.update(params, tx.init(params), params)
    theirs, _ = peer.update(params, peer.init(params), params)
    assert np.all(np.sign(ours["w"]) == -np.sign(params["w"]))
    np.testing.assert_allclose(ours["w"], -theirs["w"], rtol=1e-6)


def test_first_debiased_variance_is_zero_not_nan():
    # E[g²] - E[g]² of one gradient is 0 up to rounding; below 0 its root would be NaN (it is in Optax).
    g = {"w": np.random.default_rng(0).normal(size=1000).astype(np.float32)}
    for in_sqrt in (True, False):
        tx = gradx.scale_by_stddev(eps=0.1, eps_in_sqrt=in_sqrt, bias_correction=True)
        u, _ = tx.update(g, tx.init(g))
        assert np.all(np.isfinite(u["w"]))
        assert np.all(np.abs(u["w"]) <= np.abs(g["w"]) / (0.1 if not in_sqrt else np.sqrt(0.1)) * (1 + FLOAT32))


# Noise has no trajectory to follow, but moments.

ENTRIES = 40_000
SIX_SIGMA = 6.0
"""Standard errors within which a sample moment of 40,000 numbers lies but for one seed in 10^8; the seed is fixed."""


def _noise(tx: Any, steps: int) -> list[dict[str, np.ndarray]]:
    zeros = {"a": jnp.zeros(ENTRIES), "b": jnp.zeros(ENTRIES)}
    state, drawn = tx.init(zeros), []
    for _ in range(steps):
        u, state = tx.update(zeros, state)
        drawn.append(jax.tree.map(np.asarray, u))
    return drawn


def test_noise_has_the_moments_of_its_docstring():
    eta, gamma = 0.5, 0.55
    for t, u in enumerate(_noise(gradx.add_noise(eta, gamma, seed=0), 4)):
        z = u["a"].astype(np.float64) / np.sqrt(eta / (1 + t) ** gamma)
        bound = SIX_SIGMA / np.sqrt(ENTRIES)
        assert abs(z.mean()) <= bound
        assert abs((z**2).mean() - 1) <= bound * np.sqrt(2)
        assert abs((z**3).mean()) <= bound * np.sqrt(15)
        assert abs((z**4).mean() - 3) <= bound * np.sqrt(96)


def test_noise_is_independent_between_steps_and_leaves_and_added_to_the_update():
    first, second = _noise(gradx.add_noise(1.0, 0.0, key=3), 2)
    bound = SIX_SIGMA / np.sqrt(ENTRIES)
    for x, y in ((first["a"], first["b"]), (first["a"], second["a"]), (first["a"], second["b"])):
        assert abs(np.mean(x.astype(np.float64) * y)) <= bound
    tx = gradx.add_noise(1.0, 0.0, key=3)
    ones = {"a": jnp.ones(ENTRIES), "b": jnp.ones(ENTRIES)}
    u, _ = tx.update(ones, tx.init(ones))
    np.testing.assert_allclose(u["a"], 1 + first["a"], atol=1e-6)


def test_noise_follows_its_seed():
    same, again = (
        _noise(gradx.add_noise(1.0, 0.5, seed=1), 1),
        _noise(gradx.add_noise(1.0, 0.5, key=jax.random.key(1)), 1),
    )
    other = _noise(gradx.add_noise(1.0, 0.5, seed=2), 1)
    assert np.array_equal(same[0]["a"], again[0]["a"])
    assert not np.array_equal(same[0]["a"], other[0]["a"])


def test_noise_of_zero_variance_leaves_the_update():
    tx = gradx.chain(gradx.add_noise(0.0, 0.55, seed=0), gradx.sgd(BLOCK_RATE))
    params = {"w": jnp.arange(4.0)}
    u, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_array_equal(u["w"], -jnp.float32(BLOCK_RATE) * params["w"])
