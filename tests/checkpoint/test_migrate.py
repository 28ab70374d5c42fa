"""From one optimizer to another: what means the same moves, and the first steps are no longer than before."""

import ast
import inspect
import itertools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradx
from gradx import checkpoint, tree
from gradx.checkpoint.meanings import OTHER_MEANING, RESTARTS
from tests.checkpoint.survives import PARAMS, SCHEDULE
from tests.checkpoint.test_survives import named, trained

MU = "scale_by_adam.mu"


def moved(old, new, params=PARAMS):
    return checkpoint.migrate(old, new, trained(old, params), params)


def test_adamw_to_lion_and_back():
    adamw, lion = gradx.adamw(SCHEDULE), gradx.lion(SCHEDULE)
    state, report = moved(adamw, lion)
    assert set(report.left_out) == {f"adamw/scale_by_adam.nu:{name}" for name in tree.paths(PARAMS)}
    assert not report.new
    assert tree.get(state, "ScaleByLionState").count == 3
    back, report = checkpoint.migrate(lion, adamw, state, PARAMS)
    assert not report.new
    assert not report.left_out
    adam = tree.get(back, "ScaleByAdamState")
    first = tree.get(trained(adamw, PARAMS), "ScaleByAdamState")
    assert adam.count == 3
    jax.tree.map(np.testing.assert_array_equal, adam.mu, first.mu)
    assert report.matched["adamw/scale_by_adam.nu:scale"] == "lion/scale_by_lion.mu:scale (mean square)"
    for nu, mu in zip(jax.tree.leaves(adam.nu), jax.tree.leaves(adam.mu), strict=True):
        np.testing.assert_allclose(nu, np.full(nu.shape, np.mean(np.square(mu))), rtol=1e-6)


def test_adamw_to_muon_and_back():
    adamw, muon = gradx.adamw(SCHEDULE), gradx.muon(SCHEDULE)
    state, report = moved(adamw, muon)
    assert set(report.left_out) == {"adamw/scale_by_adam.nu:layer/kernel"}
    assert not report.new
    assert report.matched["muon/muon/scale_by_muon.mu:layer/kernel"] == "adamw/scale_by_adam.mu:layer/kernel"
    assert {int(x) for _, x in tree.get_all_with_path(state, "count")} == {3}
    back, report = checkpoint.migrate(muon, adamw, state, PARAMS)
    assert not report.new
    assert {name.partition(".")[2] for name in report.left_out} == {"count", "schedule_count"}  # Adam's own serve
    first = tree.get(trained(adamw, PARAMS), "ScaleByAdamState")
    adam = tree.get(back, "ScaleByAdamState")
    jax.tree.map(np.testing.assert_array_equal, adam.mu, first.mu)
    np.testing.assert_array_equal(adam.nu["layer"]["bias"], first.nu["layer"]["bias"])
    assert adam.count == first.count


def noisy(seed, params):
    keys = tree.split_key_like(jax.random.key(seed), params)
    return jax.tree.map(lambda key, x: 0.1 + jax.random.normal(key, x.shape), keys, params)


@pytest.mark.parametrize(
    "old", [gradx.lion(1e-3), gradx.muon(1e-3), gradx.rmsprop(1e-3), gradx.sgd(1e-3, 0.9)], ids=str
)
def test_the_first_steps_are_no_longer_than_adams_own(old):
    """With nu at 0 beside the old count they would be some thirty times as long."""
    params, new = {"w": jnp.ones((40, 30)), "b": jnp.ones(30)}, gradx.adam(1e-3)
    step = jax.jit(lambda tx, grads, state: tx.update(grads, state, params))
    state = old.init(params)
    for seed in range(300):
        _, state = step(old, noisy(seed, params), state)
    state, _ = checkpoint.migrate(old, new, state, params)
    for seed in range(300, 320):
        updates, state = step(new, noisy(seed, params), state)
        for u in jax.tree.leaves(updates):
            assert float(jnp.sqrt(jnp.mean(u**2))) <= 1.3e-3


def test_a_part_moves_as_a_whole_or_starts_anew():
    _, report = moved(gradx.adam(0.1), gradx.nadam(0.1, momentum_decay=4e-3))  # no product of momenta
    assert not report.matched
    _, report = moved(gradx.adam(0.1), gradx.ademamix(0.1))  # no slow mean
    assert not report.matched
    _, report = moved(gradx.rmsprop(0.1), gradx.rmsprop(0.1, bias_correction=True))  # no count
    assert not report.matched
    assert set(report.new.values()) == {"no count says how many gradients it has seen"}
    state, report = moved(gradx.rmsprop(SCHEDULE), gradx.rmsprop(SCHEDULE, bias_correction=True))  # the schedule's
    assert not report.new
    assert tree.get(state, "ScaleByRmsWithCountState").count == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (gradx.adam(0.1), gradx.adamax(0.1)),
        (gradx.adam(0.1), gradx.adabelief(0.1)),
        (gradx.adam(0.1), gradx.sophia(0.1, hessian_diagonal_fn=gradx.identity())),
        (gradx.adam(0.1), gradx.novograd(0.1)),
        (gradx.sm3(0.1), gradx.adam(0.1)),
        (gradx.dadapt_adamw(), gradx.prodigy()),
    ],
    ids=str,
)
def test_the_same_name_with_another_meaning_does_not_move(old, new):
    _, report = moved(old, new)
    assert not report.matched


@pytest.mark.parametrize(
    "new", [gradx.amsgrad(0.1), gradx.radam(0.1), gradx.yogi(0.1), gradx.lamb(0.1), gradx.scale_by_muon()], ids=str
)
def test_kin_of_adam_take_its_moments(new):
    state, report = moved(gradx.adam(0.1), new)
    fields = {name.rpartition(".")[2].partition(":")[0] for name in report.new}
    assert fields <= RESTARTS
    assert tree.get(state, "count") == 3
    if tree.get(state, "nu") is not None:
        jax.tree.map(np.testing.assert_array_equal, tree.get(state, "nu"), trained(gradx.adam(0.1), PARAMS)[0].nu)


NO_STATES = {"LookaheadParams", "ExampleMoments"}
"""NamedTuples of arrays that no transformation keeps."""


def documented_fields():
    """Return for each field of a state that is kept for the parameters, or is a count, what its comment says first."""
    found = {}
    for path in sorted(Path(gradx.__file__).parent.rglob("*.py")):
        if "compat" in path.parts:
            continue
        classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        states = [x for x in classes if any(getattr(base, "id", "") == "NamedTuple" for base in x.bases)]
        pairs = [(x.name, *pair) for x in states if x.name not in NO_STATES for pair in itertools.pairwise(x.body)]
        fields = [x for x in pairs if isinstance(x[1], ast.AnnAssign) and isinstance(x[2], ast.Expr)]
        for name, field, comment in fields:
            if ast.unparse(field.annotation) in ("Updates", "Params") or field.target.id == "count":
                found[f"{name}.{field.target.id}"] = first_words(comment.value.value)
    return found


def first_words(comment):
    text = inspect.cleandoc(comment).removeprefix("int32[]: ")
    return re.split(r";| at the decay|\.$", text)[0]


ALIKE = {
    "ScaleByYogiState.nu": "an estimate of |g|² by another rule",
    "MomoState.exp_avg": "m is its letter",
    "MomoAdamState.exp_avg": "m is its letter",
    "MomoAdamState.exp_avg_sq": "v is its letter",
    "ScaleByDistanceOverGradientsState.init_params": "has a dtype of its own",
    "ScheduledState.count": "says who asks",
    "MadgradState.x0": "those of the first update",
    "FactoredState.v": "of some parameters",
    "ScaleByShampooState.nu": "of some parameters",
    "ScaleByShampooState.left": "may be a diagonal",
    "ScaleByShampooState.right": "may be a diagonal",
}
"""Fields that say it in other words, and mean the same."""


def test_fields_of_one_name_mean_the_same_unless_the_table_says_otherwise():
    by_name = {}
    for field, words in documented_fields().items():
        if field not in OTHER_MEANING and field not in ALIKE:
            by_name.setdefault(field.partition(".")[2], {})[field] = words
    different = {name: fields for name, fields in by_name.items() if len(set(fields.values())) > 1}
    assert different == {}


def contrib(lib):
    return getattr(lib, "contrib", lib)


OPTAX = {
    "radam": lambda lib: lib.radam(0.01),  # Optax loses digits of its rectification
    "ademamix": lambda lib: contrib(lib).ademamix(0.1),
    "cocob": lambda lib: contrib(lib).cocob(),
    "dog": lambda lib: contrib(lib).dog(1.0),
    "mechanize": lambda lib: contrib(lib).mechanize(lib.sgd(0.1, momentum=0.9)),
    "prodigy": lambda lib: contrib(lib).prodigy(1.0),
    "schedule_free_adamw": lambda lib: contrib(lib).schedule_free_adamw(0.1),
    "sgd": lambda lib: lib.sgd(0.1),
    "sgd, schedule, momentum": lambda lib: lib.sgd(lib.linear_schedule(0.1, 0.0, 50), momentum=0.9),
    "adam": lambda lib: lib.adam(0.1),
    "adamw, schedule, mask": lambda lib: lib.adamw(
        lib.linear_schedule(0.1, 0.0, 50), mask={"layer": {"kernel": True, "bias": False}, "scale": False}
    ),
    "nadam": lambda lib: lib.nadam(0.1),
    "rmsprop": lambda lib: lib.rmsprop(0.1),
    "rmsprop, momentum": lambda lib: lib.rmsprop(lib.linear_schedule(0.1, 0.0, 50), momentum=0.9, centered=True),
    "adagrad": lambda lib: lib.adagrad(0.1),
    "adadelta": lambda lib: lib.adadelta(0.1),
    "adafactor": lambda lib: lib.adafactor(0.1, min_dim_size_to_factor=2),
    "lion": lambda lib: lib.lion(0.01),
    "lamb": lambda lib: lib.lamb(0.1),
    "adamax": lambda lib: lib.adamax(0.1),
    "amsgrad": lambda lib: lib.amsgrad(0.1),
    "adabelief": lambda lib: lib.adabelief(0.1),
    "yogi": lambda lib: lib.yogi(0.1),
    "novograd": lambda lib: lib.novograd(0.1),
    "chain": lambda lib: lib.chain(
        lib.clip_by_global_norm(1.0), lib.ema(0.9), lib.adam(lib.linear_schedule(0.1, 0.0, 50))
    ),
    "two like parts": lambda lib: lib.chain(lib.ema(0.9), lib.ema(0.5), lib.scale(-0.1)),
    "named_chain": lambda lib: lib.named_chain(("smooth", lib.ema(0.9)), ("step", lib.adam(0.1))),
    "MultiSteps": lambda lib: lib.MultiSteps(lib.adam(0.1), 2),
    "apply_if_finite": lambda lib: lib.apply_if_finite(lib.adam(0.1), 3),
    "inject_hyperparams": lambda lib: lib.inject_hyperparams(lib.adamw)(
        learning_rate=lib.linear_schedule(0.1, 0.0, 50)
    ),
    "partition": lambda lib: lib.partition(
        {"a": lib.adam(lib.linear_schedule(0.1, 0.0, 50)), "b": lib.sgd(0.1, momentum=0.9)},
        {"layer": {"kernel": "a", "bias": "b"}, "scale": "b"},
    ),
    "masked": lambda lib: lib.chain(lib.masked(lib.ema(0.9), {"layer": True, "scale": False}), lib.sgd(0.1)),
}


def go_on(tx, state, params, steps):
    """Return the parameters after some more steps."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.tree.map(lambda x: 0.3 * x + 0.1, params), state, params)
        return (jax.tree.map(lambda p, u: p + u, params, updates), state), None

    return jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps)[0])((params, state))


@pytest.mark.parametrize("way", ["import", "export"])
@pytest.mark.parametrize("name", OPTAX)
def test_optax_states_go_on(name, way):
    """From Optax to gradx, or back: the next steps are those that the other would have made."""
    old, new = (OPTAX[name](lib) for lib in ((optax, gradx) if way == "import" else (gradx, optax)))
    params, state = go_on(old, old.init(PARAMS), PARAMS, 5)
    other, report = checkpoint.migrate(old, new, state, params)
    assert report.is_complete, report
    assert jax.tree.structure(other) == jax.tree.structure(new.init(PARAMS))
    expected, _ = go_on(old, state, params, 5)
    got, _ = go_on(new, other, params, 5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), got, expected)


@pytest.mark.parametrize("way", ["import", "export"])
def test_a_state_of_optaxs_muon_goes_on(way):
    """But for the coefficients that Optax keeps in its state, which gradx has in the transformation."""
    numbers = optax.contrib.MuonDimensionNumbers()
    of_optax = {"layer": {"kernel": numbers, "bias": None}, "scale": None}
    ours = gradx.muon(0.1, muon_weight_dimension_numbers=lambda p: jax.tree.map(lambda x: x.ndim == 2, p))
    both = optax.contrib.muon(0.1, muon_weight_dimension_numbers=of_optax), ours
    old, new = both if way == "import" else both[::-1]
    params, state = go_on(old, old.init(PARAMS), PARAMS, 5)
    other, report = checkpoint.migrate(old, new, state, params)
    (missing,) = report.left_out if way == "import" else report.new
    assert missing.endswith("MuonState.ns_coeffs")
    expected, got = (go_on(tx, x, params, 5)[0] for tx, x in ((old, state), (new, other)))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), got, expected)


def test_a_state_of_optax_inside_a_chain_of_gradx():
    tx = gradx.chain(optax.adam(0.1), gradx.clip(1.0))
    state = trained(tx, PARAMS)
    saved = checkpoint.state_dict(tx, state, PARAMS)
    assert "ScaleByAdamState.mu:layer/kernel" in saved
    other = gradx.chain(gradx.ema(0.9), gradx.clip(2.0), optax.adam(0.1))
    loaded, report = checkpoint.load_state_dict(other, saved, PARAMS)
    assert {name.partition(".")[0] for name in report.new} == {"ema"}
    assert named(checkpoint.state_dict(optax.adam(0.1), loaded[2], PARAMS)).keys() == named(saved).keys()
    jax.tree.map(np.testing.assert_array_equal, loaded[2][0], state[0][0])


def test_donation_finds_no_buffer_twice():
    """One count that goes on in two parts is copied."""
    adamw, muon = gradx.adamw(SCHEDULE), gradx.muon(SCHEDULE)
    state, _ = moved(adamw, muon)
    pointers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state)]
    assert len(pointers) == len(set(pointers))
