"""What is special in Adam's kin, beside the contract and the trajectories: limits, reductions, departures, costs."""

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx import numerics
from gradx.optimizers.radam import length
from gradx.testing import CONTRACT, Subject, example_params
from tests.test_cost import SIZE, compiled_step

GRADS = {"w": jnp.array([3.0, -1.0, 0.5, -0.2]), "b": jnp.array([0.3, -2.0])}
PARAMS = jax.tree.map(lambda g: jnp.cos(g), GRADS)


def run(tx, steps=4, grads=GRADS, params=PARAMS):
    """Return the updates of a few steps with gradients that change from one to the next."""
    state, history = tx.init(params), []
    for i in range(steps):
        scaled = jax.tree.map(lambda g, i=i: (1 + 0.7 * i * (-1) ** i) * g, grads)
        updates, state = tx.update(scaled, state, params)
        history.append(updates)
    return history


def assert_same(tx, other, rtol=1e-6):
    for x, y in zip(jax.tree.leaves(run(tx)), jax.tree.leaves(run(other)), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-7)


# The default arguments at the corners: the zoo's rows have larger eps_root, for finite differences.

DEFAULTS = [gradx.adabelief(0.01), gradx.acprop(0.01), gradx.scale_by_amsgrad(), gradx.scale_by_yogi()]


@pytest.mark.parametrize("clause", ["grad", "extremes", "low_precision", "float64"])
@pytest.mark.parametrize("tx", DEFAULTS, ids=str)
def test_defaults_keep_the_contract(tx, clause):
    CONTRACT[clause](Subject(tx, example_params(), {}))


# Complex parameters

DIRECTIONS = [
    gradx.scale_by_belief(eps_root=1e-2),
    gradx.scale_by_acprop(eps_root=1e-2),
    gradx.scale_by_adamax(),
    gradx.scale_by_amsgrad(),
    gradx.scale_by_lion(),
    gradx.scale_by_lion(mode="smooth"),
    gradx.scale_by_lion(mode="refined"),
    gradx.scale_by_radam(b2=0.9, threshold=4.1),
    gradx.scale_by_yogi(initial_accumulator_value=0.0),
    gradx.scale_by_adan(),
    gradx.scale_by_novograd(),
    gradx.scale_by_ademamix(b3=0.9),
    gradx.scale_by_simplified_ademamix(alpha=1.0),
    gradx.scale_by_adopt(use_clipping=False),
    gradx.scale_by_madgrad(0.1),
    gradx.scale_by_nadam(),
]


@pytest.mark.parametrize("tx", DIRECTIONS, ids=str)
def test_a_turned_gradient_turns_the_update(tx):
    """Only |g| enters what divides: gradients times e^{iθ} give updates times e^{iθ}."""
    turn = jnp.exp(1j * jnp.float32(0.8))
    turned = jax.tree.map(lambda g: turn * g, GRADS)
    straight = run(tx, 12, GRADS, jax.tree.map(jnp.zeros_like, GRADS))
    history = run(tx, 12, turned, jax.tree.map(jnp.zeros_like, turned))
    for x, y in zip(jax.tree.leaves(history), jax.tree.leaves(straight), strict=True):
        np.testing.assert_allclose(x, turn * y, rtol=2e-5, atol=1e-6)


def test_adopt_clips_both_parts_of_complex_numbers():
    tx = gradx.scale_by_adopt(b1=0.0)
    updates, state = tx.update(jnp.complex64(1.0), tx.init(jnp.complex64(0.0)))
    updates, state = tx.update(jnp.complex64(0.5 - 30j), state)
    np.testing.assert_allclose(updates, 0.5 - 1j, rtol=1e-6)


# What is kept in few bits


@pytest.mark.parametrize(
    "make",
    [
        gradx.scale_by_amsgrad,
        gradx.scale_by_lion,
        gradx.scale_by_ademamix,
        gradx.scale_by_adopt,
        gradx.scale_by_novograd,
        gradx.scale_by_nadam,
    ],
)
def test_mu_dtype_is_for_means_of_gradients_alone(make):
    state = make(mu_dtype="bfloat16").init(PARAMS)._asdict()
    for name in ("mu", "m1", "m2"):
        assert {x.dtype for x in jax.tree.leaves(state.get(name))} <= {jnp.dtype(jnp.bfloat16)}
    for name in ("nu", "nu_max"):
        assert {x.dtype for x in jax.tree.leaves(state.get(name))} <= {jnp.dtype(jnp.float32)}


# Reductions


@pytest.mark.parametrize(
    ("tx", "other"),
    [
        (gradx.adamaxw(0.1, weight_decay=0.0), gradx.adamax(0.1)),
        (gradx.ademamix(0.1, alpha=0.0), gradx.adam(0.1)),
        (gradx.nadamw(0.1, weight_decay=0.0, momentum_decay=0.5), gradx.nadam(0.1, momentum_decay=0.5)),
        (gradx.scale_by_adan(b1=0.9, b2=0.0, b3=0.999), gradx.scale_by_adam()),
        (gradx.scale_by_simplified_ademamix(b1=0.0, b2=0.9), gradx.scale_by_adam(b1=0.0, b2=0.9)),
        (gradx.scale_by_radam(threshold=1e9, b1=0.8), gradx.ema(0.8)),
        (gradx.scale_by_lion(mode="smooth", smooth_beta=1e9), gradx.scale_by_lion()),
        (
            gradx.scale_by_lion(b1=0.9, b2=0.9, mode="refined"),
            gradx.chain(gradx.ema(0.9, debias=False), gradx.clip(1.0)),
        ),
    ],
    ids=str,
)
def test_reduces_to(tx, other):
    assert_same(tx, other)


def test_amsgrad_remembers_the_largest_root():
    tx, plain = gradx.scale_by_amsgrad(b1=0.0, b2=0.5), gradx.scale_by_adam(b1=0.0, b2=0.5)
    state, plain_state = tx.init(0.0), plain.init(0.0)
    for g in (8.0, 1.0, 1.0):
        u, state = tx.update(g, state)
        v, plain_state = plain.update(g, plain_state)
    assert np.isclose(u, 1 / 8)
    assert v > 2 * u


def test_yogi_moves_towards_the_square_by_steps_of_its_size():
    tx = gradx.scale_by_yogi(b2=0.75, initial_accumulator_value=0.0)
    _, state = tx.update(8.0, tx.init(0.0))
    assert state.nu == 16.0  # from below, a quarter of 64
    _, state = tx.update(2.0, state)
    assert state.nu == 15.0  # from above, a quarter of 4 and not of 12


def test_first_step_of_adopt_is_zero_also_without_eps():
    tx = gradx.scale_by_adopt(eps=0.0, use_clipping=False, b1=0.5)
    updates, state = tx.update(3.0, tx.init(0.0))
    assert updates == 0.0
    updates, _ = tx.update(3.0, state)
    assert updates == 0.5


@pytest.mark.parametrize("make", [gradx.scale_by_adopt, lambda **arguments: gradx.adopt(1.0, **arguments)])
def test_adopt_takes_a_schedule_for_its_bound(make):
    tx = make(b1=0.0, clip_value_fn=gradx.linear_schedule(0.0, 0.4, 4))
    state, history = tx.init(0.0), []
    for _ in range(4):
        updates, state = jax.jit(tx.update)(3.0, state)
        history.append(abs(float(updates)))
    np.testing.assert_allclose(history, [0.0, 0.1, 0.2, 0.3], rtol=1e-6)


def test_adopt_takes_a_function_that_branches():
    """Without jit a user's function is called with the count itself."""

    def bound(count):
        return 0.1 if count < 2 else 10.0

    tx = gradx.scale_by_adopt(b1=0.0, clip_value_fn=bound)
    state, history = tx.init(0.0), []
    for _ in range(3):
        updates, state = tx.update(3.0, state)
        history.append(float(updates))
    np.testing.assert_allclose(history, [0.0, 0.1, 1.0], rtol=1e-6)


def test_momentum_of_nadam_rises_from_half_of_b1():
    tx = gradx.scale_by_nadam(b1=0.8, momentum_decay=0.0)
    state = tx.init(0.0)
    for step in range(3):
        _, state = tx.update(1.0, state)
        np.testing.assert_allclose(state.momentum_product, 0.4 ** (step + 1), rtol=1e-6)


@pytest.mark.parametrize("make", [gradx.scale_by_lion, lambda **arguments: gradx.lion(0.1, **arguments)])
def test_lion_refuses_b2_of_zero(make):
    with pytest.raises(ValueError, match=r"b2 must be in \(0, 1\), got 0"):
        make(b2=0.0)


def test_lion_names_its_modes():
    with pytest.raises(ValueError, match="mode must be one of hard, smooth, refined, got 'soft'"):
        gradx.scale_by_lion(mode="soft")  # pyright: ignore[reportArgumentType]


def test_novograd_divides_each_array_by_its_own_norm():
    updates = run(gradx.scale_by_novograd(eps=0.0), 1)[0]
    assert all(np.isclose(jnp.linalg.norm(x), 1.0) for x in jax.tree.leaves(updates))


def test_madgrad_keeps_a_copy_of_the_parameters():
    with jax.disable_jit():
        x0 = gradx.scale_by_madgrad(0.1).init(PARAMS).x0
    for name, x in x0.items():
        assert x.unsafe_buffer_pointer() != PARAMS[name].unsafe_buffer_pointer()


# RAdam's rho


def exact_length(b2, t):
    with localcontext() as context:
        context.prec = 60
        b = Decimal(float(np.float32(b2)))
        return float(2 / (1 - b) - 1 - 2 * t * b**t / (1 - b**t))


@pytest.mark.parametrize("b2", [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999999])
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-5), ("float64", 1e-11)])
def test_length_has_all_digits(b2, dtype, rtol):
    decay = np.float32(b2).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        for t in (1, 2, 5, 6, 10, 40, 99, 100, 101, 1000, 99_999, 100_001, 10_000_000):
            rho = length(decay, jnp.asarray(t, dtype), numerics.bias_correction(decay, t))
            np.testing.assert_allclose(rho, exact_length(b2, t), rtol=rtol)


def test_radam_begins_when_the_paper_says():
    """At b2 = 0.9995 rho(5) is 4.998: plain momentum. Optax's float32 makes it 5.18, and a step 40 times shorter."""
    optax = pytest.importorskip("optax")
    history = {}
    for library in (gradx, optax):
        tx = library.scale_by_radam(b1=0.0, b2=0.9995)
        state = tx.init(jnp.float32(0.0))
        for _ in range(5):
            updates, state = jax.jit(tx.update)(jnp.float32(3.0), state)
        history[library.__name__] = float(updates)
    np.testing.assert_allclose(history["gradx"], 3.0, rtol=1e-6)
    assert history["optax"] < 0.1


@pytest.mark.parametrize("b2", [0.0, 0.3, 0.6])
def test_radam_stays_momentum_where_a_mean_never_gathers_enough(b2):
    assert_same(gradx.scale_by_radam(b1=0.8, b2=b2, threshold=0.0), gradx.ema(0.8))


# Where gradx departs from Optax, as its docstrings say


def test_adan_weighs_the_change_by_b2():
    """b1 = 0 = b3: u = (g + b2 · v / c2) / |g + b2 · d|, of which Optax takes 1 - b2 (google-deepmind/optax#1715)."""
    b2 = 0.92
    d, v = 1.0, 0.08 / (1 - b2**2)
    expected = {"gradx": (2 + b2 * v) / (2 + b2 * d), "optax": (2 + (1 - b2) * v) / (2 + (1 - b2) * d)}
    optax = pytest.importorskip("optax")
    for library in (gradx, optax):
        tx = library.scale_by_adan(b1=0.0, b2=b2, b3=0.0)
        state = tx.init(jnp.float32(0.0))
        for g in (1.0, 2.0):
            updates, state = tx.update(jnp.float32(g), state)
        np.testing.assert_allclose(updates, expected[library.__name__], rtol=1e-5)


# The order that spares a copy


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_made_after_changes_nothing_but_what_is_nan(dtype):
    x = jnp.array([1.0, 2.0, 3.0], dtype)
    first, second = jnp.array([0.0, np.nan, np.inf]), jnp.array([1.0, 1.0, -np.inf], dtype)
    np.testing.assert_array_equal(numerics.made_after(x, first, second)[jnp.array([0, 2])], x[jnp.array([0, 2])])
    assert np.isnan(numerics.made_after(x, first, second)[1])
    assert np.isnan(numerics.made_after(x, second, first)[1])


BYTES = [
    (gradx.adabelief(1e-3), 44.1, 0.1),  # Optax: 56 and 4
    (gradx.adabelief(1e-3, nesterov=True), 48.1, 0.1),
    (gradx.adamaxw(1e-3), 40.1, 0.1),
    (gradx.amsgrad(1e-3), 52.1, 0.1),
    (gradx.lion(1e-3), 28.1, 0.1),  # Optax: 36 and 4
    (gradx.radam(1e-3), 40.1, 0.1),
    (gradx.yogi(1e-3), 40.1, 0.1),
    (gradx.adan(1e-3), 80.1, 0.1),  # Optax: 80 and 4
    (gradx.novograd(1e-3), 32.1, 0.1),
    (gradx.acprop(1e-3), 56.1, 4.1),  # Optax: 60 and 8
    (gradx.ademamix(1e-3), 56.1, 0.1),
    (gradx.simplified_ademamix(1e-3), 44.1, 0.1),
    (gradx.adopt(1e-3), 44.1, 0.1),  # Optax: 48 and 4
    (gradx.scale_by_madgrad(1e-3), 44.1, 0.1),
    (gradx.madgrad(1e-3), 52.1, 0.1),  # Optax: 52 with a weight decay, 44 with 0, which it leaves out
    (gradx.nadam(1e-3, momentum_decay=4e-3), 44.1, 0.1),
]
"""Bytes and temporaries for each parameter, of a whole step; Optax's where they are more, else the same."""


@pytest.mark.parametrize(("tx", "bytes_per_parameter", "temporaries"), BYTES, ids=str)
def test_bytes_and_temporaries(tx, bytes_per_parameter, temporaries):
    compiled = compiled_step(tx)
    assert compiled.cost_analysis()["bytes accessed"] / SIZE <= bytes_per_parameter
    assert compiled.memory_analysis().temp_size_in_bytes / SIZE <= temporaries
