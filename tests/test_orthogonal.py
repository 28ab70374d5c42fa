"""What goes around or before any optimizer: nothing when it is off, anything together, and what each promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.matrices import Layout
from gradx.testing import Subject, assert_close
from gradx.testing.subject import assert_finite, types_of
from tests.zoo import decays

INF = float("inf")
OF_EVERY_MATRIX = gradx.muon(
    0.1, muon_weight_dimension_numbers=lambda params: jax.tree.map(lambda x: x.ndim > 1, params)
)
RATE = gradx.linear_schedule(0.1, 0.02, 8)


def cosines(params):
    return jax.tree.map(jnp.cos, params)


# Switched off

ADAMW = gradx.adamw(0.1, weight_decay=0.1)
HEAVY = gradx.sgd(0.1, momentum=0.9)
OFF = {
    "cautious nowhere": (gradx.cautious(ADAMW, False), ADAMW),
    "cautious where all agree": (gradx.cautious(gradx.sgd(0.1)), gradx.sgd(0.1)),
    "cautious decay of 0": (gradx.add_cautious_decayed_weights(0.0), gradx.identity()),
    "cautious decay nowhere": (gradx.add_cautious_decayed_weights(0.5, False), gradx.identity()),
    "corrected decay of 0": (gradx.add_corrected_decayed_weights(0.0, RATE, 0.1), gradx.identity()),
    "corrected decay at the peak": (
        gradx.add_corrected_decayed_weights(0.3, 0.1, 0.1, decays),
        gradx.add_decayed_weights(0.3, decays),
    ),
    "corrected decay without norms": (
        gradx.add_corrected_decayed_weights(0.3, RATE, 0.1, normalized=False),
        gradx.add_decayed_weights(0.3),
    ),
    "adamc at the peak": (gradx.adamc(0.1, 0.1, weight_decay=0.3), gradx.adamw(0.1, weight_decay=0.3)),
    "zclip": (gradx.chain(gradx.zclip(INF, warmup_steps=1), ADAMW), ADAMW),
    "adagc": (gradx.chain(gradx.adagc(INF, INF, warmup_steps=1), ADAMW), ADAMW),
    "mars_correction": (gradx.chain(gradx.mars_correction(0.0, max_norm=INF), ADAMW), ADAMW),
    "mars_correction, exact": (gradx.chain(gradx.mars_correction(0.0, max_norm=INF, exact=True), ADAMW), ADAMW),
    "mars_adamw": (gradx.mars_adamw(0.1, gamma=0.0, max_norm=INF), gradx.adamw(0.1, 0.95, 0.99, weight_decay=0.0)),
    "hyperball without matrices": (gradx.hyperball(ADAMW, 0.1, False), ADAMW),
    "graft nowhere": (gradx.graft(ADAMW, HEAVY, False), ADAMW),
    "generalized_primal_averaging": (gradx.generalized_primal_averaging(HEAVY, mu_x=0.0), HEAVY),
    "average_params, tail": (gradx.average_params(HEAVY, None, tail=3.0), HEAVY),
    "scale_by_stable_adam": (gradx.scale_by_stable_adam(threshold=INF), gradx.scale_by_adam(0.9, 0.99, 1e-6)),
    "scale_by_adam_mini": (gradx.scale_by_adam_mini(blocks=...), gradx.scale_by_adam()),
    "apollo without matrices": (gradx.apollo(0.1, weight_dimension_numbers=False), gradx.adam(0.1, eps=1e-6)),
}


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", OFF)
def test_switched_off_it_is_not_there(name, compiled):
    """Bit for bit, but where XLA fuses another program of the same maths otherwise."""
    ulp = 2e-7 if compiled and name == "scale_by_stable_adam" else 0
    with jax.disable_jit(not compiled):
        got, plain = (Subject(tx, extras={"grad_fn": cosines}).run(3)[0] for tx in OFF[name])
    assert jax.tree.structure(got) == jax.tree.structure(plain)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(x, y, rtol=ulp, atol=0)


# Together

OPTIMIZERS = {
    "adamw": ADAMW,
    "sgd": HEAVY,
    "muon": gradx.muon(0.05),
}
AROUND = {
    "cautious": gradx.cautious,
    "cautious decay": lambda tx: gradx.chain(gradx.add_cautious_decayed_weights(0.01), tx),
    "corrected decay": lambda tx: gradx.chain(gradx.add_corrected_decayed_weights(0.01, RATE, 0.1), tx),
    "zclip": lambda tx: gradx.chain(gradx.zclip(warmup_steps=1), tx),
    "adagc": lambda tx: gradx.chain(gradx.adagc(warmup_steps=1), tx),
    "mars_correction": lambda tx: gradx.chain(gradx.mars_correction(), tx),
    "mars_correction, exact": lambda tx: gradx.chain(gradx.mars_correction(exact=True), tx),
    "hyperball": lambda tx: gradx.hyperball(tx, RATE),
    "graft": lambda tx: gradx.graft(tx, gradx.sgd(0.1)),
    "generalized_primal_averaging": lambda tx: gradx.generalized_primal_averaging(tx, 0.9),
    "average_params, tail": lambda tx: gradx.average_params(tx, None, tail=3.0),
}


def check_together(tx):
    """Three steps, compiled and donated: finite, one trace, a state of one structure, weights to evaluate."""
    subject, traces = Subject(tx), 0

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        nonlocal traces
        traces += 1
        updates, state = tx.update(grads, state, params, grad_fn=cosines)
        return gradx.apply_updates(params, updates), state

    params = gradx.tree.copy(subject.params)
    state = tx.init(params)
    before = types_of(state)
    for i in range(3):
        params, state = step(params, state, subject.grads(i))
        assert types_of(state) == before
    assert traces == 1
    found = gradx.eval_params(state, params)
    assert types_of(found) == types_of(params)
    assert_finite((params, found), "what was trained")
    moved = jax.tree.map(lambda x, y: bool(jnp.any(x != y)), params, subject.params)
    assert any(jax.tree.leaves(moved))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("around", AROUND)
def test_each_goes_with_each_optimizer(around, optimizer):
    check_together(AROUND[around](OPTIMIZERS[optimizer]))


@pytest.mark.parametrize("inner", AROUND)
@pytest.mark.parametrize("outer", AROUND)
def test_each_goes_around_each_other(outer, inner):
    check_together(AROUND[outer](AROUND[inner](ADAMW)))


def test_all_at_once():
    tx = HEAVY
    for around in AROUND.values():
        tx = around(tx)
    check_together(tx)


# Cautious updates and decay


def gradients(seed, steps=12):
    """Return params and some gradients that often change sign, with entries of 0."""
    rng = np.random.default_rng(seed)
    draws = [{"w": rng.normal(size=(5, 4)), "v": rng.normal(size=7)} for _ in range(steps + 1)]
    draws = [jax.tree.map(np.float32, x) for x in draws]
    draws[3]["v"][2] = 0.0
    return draws[0], draws[1:]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tx", [HEAVY, gradx.adam(0.1), gradx.lion(0.1), gradx.adamw(0.1, weight_decay=3.0)], ids=str)
def test_cautious_updates_never_go_against_the_gradient(tx, seed):
    params, grads = gradients(seed)
    careful, plain = gradx.cautious(tx), tx
    state, other, against = careful.init(params), plain.init(params), 0
    for g in grads:
        updates, state = careful.update(g, state, params)
        free, other = plain.update(g, other, params)
        for name in g:
            assert np.all(updates[name] * g[name] <= 0)
            keeps = np.asarray(free[name] * g[name] < 0)
            against += np.sum(~keeps)
            np.testing.assert_allclose(
                updates[name], np.where(keeps, free[name], 0) / keeps.mean(), rtol=1e-5, atol=1e-7
            )
    assert against > 10


def test_a_cautious_direction_points_uphill():
    params, grads = gradients(0)
    up = gradx.chain(gradx.cautious(gradx.momentum(0.9), uphill=True), gradx.scale(-0.1))
    down = gradx.cautious(HEAVY)
    states = [up.init(params), down.init(params)]
    for g in grads:
        (one, states[0]), (other, states[1]) = up.update(g, states[0]), down.update(g, states[1])
        assert_close(one, other)


def test_cautious_where_nothing_agrees_stands_still():
    tx = gradx.cautious(HEAVY)
    _, state = tx.update({"w": jnp.ones(4)}, tx.init({"w": jnp.ones(4)}))
    updates, _ = tx.update({"w": jnp.full(4, -0.1)}, state)
    np.testing.assert_array_equal(updates["w"], jnp.zeros(4))


def test_cautious_asks_for_signs_of_numbers_whose_product_is_0():
    tx, tiny = gradx.cautious(gradx.sgd(1e-20)), {"w": jnp.array([1e-15, -1e-16])}
    np.testing.assert_array_equal(tx.update(tiny, tx.init(tiny))[0]["w"], jnp.float32(-1e-20) * tiny["w"])


def test_cautious_decay_never_works_against_the_step():
    params, grads = gradients(1)
    plain, _ = gradx.add_decayed_weights(0.3).update(grads[0], gradx.EmptyState(), params)
    careful, _ = gradx.add_cautious_decayed_weights(0.3).update(grads[0], gradx.EmptyState(), params)
    for name, g in grads[0].items():
        same = g * params[name] >= 0
        assert 0 < same.sum() < same.size
        np.testing.assert_array_equal(careful[name], np.where(same, plain[name], g))


def test_cautious_decay_of_complex_numbers_goes_part_by_part():
    tx = gradx.add_cautious_decayed_weights(0.5)
    updates, _ = tx.update(jnp.array([1 - 1j]), gradx.EmptyState(), jnp.array([2 + 2j]))
    np.testing.assert_array_equal(updates, [2 - 1j])


def test_adamc_decays_by_the_square_of_the_rate():
    tx = gradx.adamc(lambda step: 0.1 / (1 + step), 0.1, weight_decay=0.5, normalized={"a": True, "b": False})
    params = {"a": jnp.array(2.0), "b": jnp.array(2.0)}
    state, zeros = tx.init(params), jax.tree.map(jnp.zeros_like, params)
    for rate in (0.1, 0.05):
        updates, state = tx.update(zeros, state, params)
        np.testing.assert_allclose(updates["a"], -(rate**2) / 0.1 * 0.5 * 2.0, rtol=1e-6)
        np.testing.assert_allclose(updates["b"], -rate * 0.5 * 2.0, rtol=1e-6)


# Hyperball


def frobenius(x, axes=(-2, -1)):
    return np.sqrt(np.sum(np.asarray(x, np.float64) ** 2, axis=axes))


@pytest.mark.parametrize(
    "inner", [gradx.adam(0.01), HEAVY, OF_EVERY_MATRIX, gradx.adamw(0.01, weight_decay=1.0)], ids=lambda tx: tx.name
)
def test_hyperball_keeps_every_norm_to_a_millionth(inner):
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(30, 20)), "stack": 3 * rng.normal(size=(4, 5, 6)), "b": rng.normal(size=9)}
    params = jax.tree.map(np.float32, params)
    if inner.name == "muon":
        params.pop("stack")
    tx = gradx.hyperball(inner, gradx.cosine_decay_schedule(0.05, 300), lambda p: {k: x.ndim > 1 for k, x in p.items()})
    start, state = jax.tree.map(frobenius, {k: x for k, x in params.items() if k != "b"}), tx.init(params)
    step = jax.jit(lambda p, s, g: (lambda u, s: (gradx.apply_updates(p, u), s))(*tx.update(g, s, p)))
    for _ in range(300):
        grads = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
        params, state = step(params, state, grads)
        for name, norms in start.items():
            np.testing.assert_allclose(frobenius(params[name]), norms, rtol=1e-6)


@pytest.mark.parametrize("layout", [Layout((1,), (0,), 1), Layout((0,), (1, 2), 3), Layout((0, 1), (2,), 2)], ids=str)
def test_hyperball_keeps_the_norm_of_each_matrix_of_a_layout(layout):
    w = jax.random.normal(jax.random.key(0), (4, 3, 6))
    tx = gradx.hyperball(gradx.adam(0.1), 0.2, layout)
    state = tx.init(w)
    assert state.radius.size == layout.count(w.shape)
    start, moved = frobenius(layout.batch_of(w)), w
    for seed in range(1, 4):
        updates, state = tx.update(jax.random.normal(jax.random.key(seed), w.shape), state, moved)
        moved = moved + updates
        np.testing.assert_allclose(frobenius(layout.batch_of(moved)), start, rtol=1e-6)
    assert np.min(np.abs(moved - w)) > 1e-4


def test_hyperball_takes_roles():
    params = {"embed": {"embedding": jnp.ones((9, 4))}, "up": {"kernel": jnp.ones((4, 5)), "bias": jnp.ones(5)}}
    params["down"] = {"kernel": jnp.ones((5, 4)), "bias": jnp.ones(4)}
    state = gradx.hyperball(gradx.adam(0.1), 0.1, gradx.roles.infer).init(params)
    assert state.radius["embed"]["embedding"] is None
    np.testing.assert_allclose(state.radius["up"]["kernel"], 20**0.5, rtol=1e-6)


def test_hyperball_turns_by_the_learning_rate():
    """A step at right angles to the weights makes an angle of arctan(learning_rate), however long it is."""
    w = {"w": jnp.array([[3.0, 0.0], [0.0, 4.0]])}
    g = {"w": jnp.array([[0.0, 1.0], [2.0, 0.0]])}
    for size in (1e-6, 1.0, 1e6):
        for inner in (gradx.sgd(0.1), gradx.sgd(100.0)):
            tx = gradx.hyperball(inner, 0.3)
            updates, _ = tx.update(gradx.tree.scale(size, g), tx.init(w), w)
            turned = w["w"] + updates["w"]
            np.testing.assert_allclose(jnp.sum(turned * w["w"]) / 25.0, np.cos(np.arctan(0.3)), rtol=1e-6)


def test_hyperball_lets_a_matrix_at_0_leave_it():
    w = {"w": jnp.zeros((2, 2)), "v": jnp.ones((2, 2))}
    tx = gradx.hyperball(gradx.sgd(1.0), 0.1)
    updates, _ = tx.update({"w": jnp.ones((2, 2)), "v": jnp.zeros((2, 2))}, tx.init(w), w)
    np.testing.assert_array_equal(updates["w"], -jnp.ones((2, 2)))
    np.testing.assert_allclose(updates["v"], jnp.zeros((2, 2)), atol=1e-7)


def test_hyperball_at_the_centre_of_its_ball_stays():
    w = {"w": jnp.ones((2, 2))}
    tx = gradx.hyperball(gradx.sgd(1.0), 1.0)
    updates, _ = tx.update(w, tx.init(w), w)
    assert_finite(updates, "the update")


# Grafting


@pytest.mark.parametrize("seed", range(3))
def test_grafted_steps_have_one_norm_and_the_other_direction(seed):
    params, grads = gradients(seed)
    direction, magnitude = gradx.adam(0.3), gradx.sgd(0.01, momentum=0.9)
    parts = (gradx.graft(direction, magnitude), direction, magnitude)
    states = [tx.init(params) for tx in parts]
    for g in grads:
        (u, states[0]), (d, states[1]), (m, states[2]) = (
            tx.update(g, s, params) for tx, s in zip(parts, states, strict=True)
        )
        for name in g:
            np.testing.assert_allclose(np.linalg.norm(u[name]), np.linalg.norm(m[name]), rtol=1e-6)
            cosine = np.sum(u[name] * d[name]) / np.linalg.norm(u[name]) / np.linalg.norm(d[name])
            np.testing.assert_allclose(cosine, 1, rtol=1e-6)


def test_grafting_on_no_direction_stands_still():
    tx = gradx.graft(gradx.scale(0.0), gradx.sgd(1.0))
    assert float(tx.update(3.0, tx.init(0.0))[0]) == 0.0
