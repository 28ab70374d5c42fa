"""Adam-mini, APOLLO, LaProp, StableAdamW, and averages that training leans on: shapes, bounds, reductions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.testing import Subject, assert_close

ROUNDING = {"rtol": 2e-6, "atol": 1e-7}


def draw(seed, **shapes):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def run(tx, params, grads):
    state, history = tx.init(params), []
    for g in grads:
        updates, state = tx.update(g, state, params)
        params = gradx.apply_updates(params, updates)
        history.append(updates)
    return history, state


# Adam-mini

ATTENTION = {
    "embed": {"embedding": (11, 8)},
    "block": {
        "query": {"kernel": (8, 2, 4), "bias": (2, 4)},
        "key": {"kernel": (8, 2, 4)},
        "value": {"kernel": (8, 2, 4), "bias": (2, 4)},
        "out": {"kernel": (2, 4, 8), "bias": (8,)},
        "conv": {"kernel": (3, 3, 8, 5)},
        "norm": {"scale": (8,)},
    },
    "q_proj": {"kernel": (8, 8)},
}
MOMENTS = {
    "embed": {"embedding": (11, 1)},
    "block": {
        "query": {"kernel": (1, 2, 1), "bias": (2, 1)},
        "key": {"kernel": (1, 2, 1)},
        "value": {"kernel": (1, 2, 4), "bias": (1, 1)},
        "out": {"kernel": (1, 1, 8), "bias": (1,)},
        "conv": {"kernel": (1, 1, 1, 5)},
        "norm": {"scale": (1,)},
    },
    "q_proj": {"kernel": (1, 8)},
}


def test_adam_mini_has_a_moment_for_each_head_output_and_token():
    params = jax.tree.map(jnp.ones, ATTENTION, is_leaf=lambda x: isinstance(x, tuple))
    state = gradx.scale_by_adam_mini().init(params)
    assert jax.tree.map(jnp.shape, state.nu) == MOMENTS
    assert gradx.tree.size(state) < 1.15 * gradx.tree.size(params)


def test_adam_mini_is_adam_on_blocks_of_one_size():
    """Where |g| is the same all over a block, the mean over it is each one's own."""
    signs = np.sign(draw(0, w=(4, 3))["w"])
    grads = [{"w": signs * np.array([1.0, 10.0, 0.1], np.float32) * (i + 1)} for i in range(4)]
    mini, adam = (run(tx, grads[0], grads)[0] for tx in (gradx.adam_mini(0.1), gradx.adam(0.1)))
    assert_close(mini, adam, **ROUNDING)


def test_adam_mini_scales_a_block_as_one():
    g = draw(1, w=(4, 3))
    (u,), _ = run(gradx.scale_by_adam_mini(), g, [g])
    np.testing.assert_allclose(u["w"], g["w"] / np.sqrt(np.mean(g["w"] ** 2, axis=0)), rtol=1e-5)
    (u,), _ = run(gradx.scale_by_adam_mini(blocks=()), g, [g])
    np.testing.assert_allclose(u["w"], g["w"] / np.sqrt(np.mean(g["w"] ** 2)), rtol=1e-5)


def test_blocks_may_be_given_by_a_prefix_or_a_function():
    params = draw(2, a=(4, 3), b=(4, 3))
    whole = gradx.scale_by_adam_mini(blocks={"a": (0, 1), "b": -1}).init(params).nu
    asked = gradx.scale_by_adam_mini(blocks=lambda p: {"a": ..., "b": 1}).init(params).nu
    assert jax.tree.map(jnp.shape, whole) == jax.tree.map(jnp.shape, asked) == {"a": (4, 3), "b": (1, 3)}


def test_blocks_may_be_roles():
    params = {
        "embed": {"embedding": jnp.ones((11, 8))},
        "layers": {"up": {"kernel": jnp.ones((3, 8, 9)), "bias": jnp.ones((3, 9))}},
        "norm": {"scale": jnp.ones(8)},
        "conv": {"kernel": jnp.ones((3, 3, 8, 5)), "bias": jnp.ones(5)},
    }
    nu = gradx.scale_by_adam_mini(blocks=gradx.roles.infer).init(params).nu
    assert nu["embed"]["embedding"].shape == (11, 1)
    assert nu["layers"]["up"]["kernel"].shape == (3, 1, 9)
    assert nu["conv"]["kernel"].shape == (1, 1, 1, 5)
    assert nu["norm"]["scale"].shape == (1,)
    tx = gradx.adam_mini(0.1, blocks=gradx.roles.infer)
    (updates,), _ = run(tx, params, [params])
    assert jax.tree.structure(updates) == jax.tree.structure(params)


@pytest.mark.parametrize("blocks", [2, (0, 5), "rows", True])
def test_blocks_that_are_no_axes_are_refused(blocks):
    with pytest.raises(ValueError, match="blocks of 'w' must be axes of its 2"):
        gradx.scale_by_adam_mini(blocks=blocks).init({"w": jnp.ones((2, 3))})


# APOLLO


def test_apollo_keeps_little():
    params = draw(0, tall=(40, 6), wide=(6, 40), bias=(5,))
    state = gradx.scale_by_apollo(rank=2).init(params)
    assert jax.tree.map(jnp.shape, state.mu) == {"tall": (1, 2, 40), "wide": (1, 2, 40), "bias": (5,)}
    mini = gradx.apollo_mini(0.1).init(params)[0]
    assert jax.tree.map(jnp.shape, mini.nu) == {"tall": (1, 1, 40), "wide": (1, 1, 40), "bias": (5,)}
    assert state.norms["bias"] is None


def cosines(x, y, axis=None):
    return np.sum(x * y, axis) / np.sqrt(np.sum(x * x, axis) * np.sum(y * y, axis))


def test_apollo_steps_along_the_gradient_of_each_channel():
    params = draw(0, tall=(9, 4), wide=(4, 9))
    tx, mini = gradx.scale_by_apollo(2), gradx.scale_by_apollo(1, granularity="tensor")
    grads = [draw(i + 1, tall=(9, 4), wide=(4, 9)) for i in range(3)]
    for g, u, v in zip(grads, run(tx, params, grads)[0], run(mini, params, grads)[0], strict=True):
        np.testing.assert_allclose(cosines(u["tall"], g["tall"], 1), 1, rtol=1e-5)  # channels: the longer side
        np.testing.assert_allclose(cosines(u["wide"], g["wide"], 0), 1, rtol=1e-5)
        assert cosines(u["wide"], g["wide"]) < 0.9999
        np.testing.assert_allclose(cosines(v["wide"], g["wide"]), 1, rtol=1e-5)


def test_apollo_of_full_rank_scales_channels_about_as_adam_does():
    """Random projection keeps norms: Adam's first step gives each channel sqrt(its length), here within a fifth."""
    g = {"w": draw(3, w=(400, 500))["w"] * np.linspace(0.1, 10.0, 500, dtype=np.float32)}
    (u,), _ = run(gradx.scale_by_apollo(400, eps=0.0), g, [g])
    sizes = np.linalg.norm(u["w"], axis=0)
    np.testing.assert_allclose(sizes, np.sqrt(400), rtol=0.2)


def test_apollo_limits_the_growth_of_steps():
    g = draw(0, w=(5, 6))
    grads = [gradx.tree.scale(sign, g) for sign in (1.0, -1.0, 1.0, 1.0)]  # momentum goes, and comes back
    free, _ = run(gradx.scale_by_apollo(3, growth=np.inf), g, grads)
    history, state = run(gradx.scale_by_apollo(3, growth=1.2), grads[0], grads)
    lengths = [np.linalg.norm(u["w"]) for u in history]
    assert np.all(np.array(lengths[1:]) <= 1.2 * np.array(lengths[:-1]) * (1 + 1e-6))
    assert np.linalg.norm(free[3]["w"]) > 2 * lengths[3]
    np.testing.assert_allclose(state.norms["w"], lengths[3], rtol=1e-6)
    after, _ = gradx.scale_by_apollo(3).update(gradx.tree.zeros_like(grads[0]), state)
    np.testing.assert_array_equal(after["w"], jnp.zeros((5, 6)))


def test_apollo_draws_again_at_intervals_and_by_its_key():
    from gradx.optimizers.apollo import projection

    shape = (1, 2, 5)
    first = projection(0, 0, 0, shape)
    np.testing.assert_array_equal(first, projection(jax.random.key(0), 0, 0, shape))
    for other in (projection(1, 0, 0, shape), projection(0, 1, 0, shape), projection(0, 0, 1, shape)):
        assert not np.allclose(first, other, atol=0.1)
    many = projection(0, 0, 0, (1, 100, 2000))
    np.testing.assert_allclose([np.mean(many), np.var(many)], [0, 1], atol=0.02)
    g = draw(0, w=(6, 7))
    runs = {gap: run(gradx.scale_by_apollo(2, gap), g, [g] * 4)[0] for gap in (1, 3, 99)}
    assert_close(runs[3][:3], runs[99][:3], **ROUNDING)
    assert not np.allclose(runs[3][3]["w"], runs[99][3]["w"], rtol=1e-3)
    assert not np.allclose(runs[1][1]["w"], runs[99][1]["w"], rtol=1e-3)


def test_apollo_takes_stacked_layers_and_a_missing_gradient():
    stack = draw(0, w=(3, 4, 6))
    tx = gradx.scale_by_apollo(2, weight_dimension_numbers=True)
    (u,), _ = run(tx, stack, [stack])
    assert u["w"].shape == (3, 4, 6)
    for x, g in zip(u["w"], stack["w"], strict=True):
        np.testing.assert_allclose(cosines(x, g, 0), 1, rtol=1e-5)
    params = draw(1, a=(4, 5), b=(4, 5), c=(3,))
    tx = gradx.scale_by_apollo(2)
    state = tx.init(params)
    whole, _ = tx.update(params, state, params)
    part, after = tx.update(params | {"a": None, "c": None}, state, params)
    assert part["a"] is None
    np.testing.assert_allclose(part["b"], whole["b"], rtol=1e-6)  # another program rounds otherwise
    np.testing.assert_array_equal(after.mu["a"], state.mu["a"])


def test_apollo_refuses_other_granularities():
    with pytest.raises(ValueError, match="granularity must be one of"):
        gradx.scale_by_apollo(granularity="row")


# LaProp and StableAdamW

LIKE = {
    "laprop without momentum is adam without": (gradx.laprop(0.1, b1=0.0, eps=1e-8), gradx.adam(0.1, b1=0.0)),
    "laprop without a second moment is momentum of signs": (
        gradx.scale_by_laprop(b2=0.0, eps=0.0),
        gradx.chain(gradx.scale_by_sign(), gradx.ema(0.9)),
    ),
    "stable adam that never leaps is adam": (gradx.scale_by_stable_adam(b2=0.0), gradx.scale_by_adam(b2=0.0, eps=1e-6)),
}


@pytest.mark.parametrize("name", LIKE)
def test_reductions(name):
    got, expected = (Subject(tx).run(3)[0] for tx in LIKE[name])
    assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_laprop_never_steps_further_than_the_scaled_gradients():
    grads = [gradx.tree.scale(size, draw(i, w=(50,))) for i, size in enumerate([1.0] * 20 + [1e-3] * 10)]
    history, _ = run(gradx.scale_by_laprop(b1=0.99, b2=0.5), grads[0], grads)
    for u in history:
        assert np.max(np.abs(u["w"])) <= np.sqrt(1 / (1 - 0.5)) * (1 + 1e-5)
    adam, _ = run(gradx.scale_by_adam(b1=0.99, b2=0.5), grads[0], grads)
    assert np.max(np.abs(adam[-1]["w"])) > 5


def test_stable_adam_shortens_a_leap_by_the_ratio_of_the_moments():
    tx, plain = (f(b1=0.9, b2=0.99, eps=1e-6) for f in (gradx.scale_by_stable_adam, gradx.scale_by_adam))
    grads = [{"w": jnp.ones(3)}] * 50 + [{"w": jnp.full(3, 30.0)}]
    stable, state = run(tx, grads[0], grads)
    free, _ = run(plain, grads[0], grads)
    nu = state.nu["w"] / (1 - 0.99**51)
    np.testing.assert_allclose(stable[-1]["w"], free[-1]["w"] * np.sqrt(nu) / 30.0, rtol=1e-4)
    assert_close(stable[:-1], free[:-1], rtol=1e-5)


# Averages

HEAVY = gradx.sgd(0.1, momentum=0.5)


def train(tx, steps=9):
    params = draw(0, w=(4,), v=(2, 3))
    state, history = tx.init(params), []
    for i in range(steps):
        grads = jax.tree.map(lambda p, i=i: jnp.cos((i + 1.0) * p), params)
        updates, state = tx.update(grads, state, params)
        params = gradx.apply_updates(params, updates)
        history.append(params)
    return history, state


def test_primal_averaging_with_the_mean_of_all_is_schedule_free():
    ours = gradx.generalized_primal_averaging(HEAVY, mu_x=lambda t: t / (t + 1), mu_y=0.8)
    theirs = gradx.schedule_free(HEAVY, 0.1, b1=0.8, weight_lr_power=0.0)
    (got, state), (expected, other) = train(ours), train(theirs)
    assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert_close(gradx.eval_params(state, got[-1]), gradx.eval_params(other, expected[-1]), rtol=1e-5, atol=1e-6)


def test_primal_averaging_trains_at_the_mean_where_mu_y_is_1():
    history, state = train(gradx.generalized_primal_averaging(HEAVY, 0.7, 1.0))
    assert_close(gradx.eval_params(state, history[-1]), history[-1])


def test_primal_averaging_evaluates_the_mean_of_the_iterates():
    tx = gradx.generalized_primal_averaging(gradx.sgd(1.0), 0.5, 0.25)
    z = x = y = 0.0
    state = tx.init(0.0)
    for g in (1.0, -3.0, 0.5):
        updates, state = tx.update(g, state, y)
        z -= g
        x = 0.5 * x + 0.5 * z
        y = float(y + updates)
        np.testing.assert_allclose([state.z, y, gradx.eval_params(state, y)], [z, 0.25 * x + 0.75 * z, x], atol=1e-6)


@pytest.mark.parametrize("tail", [0.0, 1.0, 8.0])
def test_tail_averages_weigh_the_end_the_most(tail):
    history, state = train(gradx.average_params(HEAVY, None, tail=tail))
    weights = np.array([1.0])
    for n in range(2, len(history) + 1):
        w = (1 + tail) / (n + tail)
        weights = np.append((1 - w) * weights, w)
    assert np.all(np.diff(weights) >= -1e-12)
    assert np.isclose(weights.sum(), 1)
    mean = jax.tree.map(lambda *x: sum(w * y for w, y in zip(weights, x, strict=True)), *history)
    assert_close(gradx.eval_params(state, history[-1]), mean, rtol=1e-5, atol=1e-6)


def test_a_tail_of_0_is_the_mean_of_all():
    plain, other = (train(gradx.average_params(HEAVY, None, tail=tail)) for tail in (None, 0.0))
    assert_close(plain[1].average, other[1].average, **ROUNDING)


def test_a_tail_is_of_the_mean_of_all():
    with pytest.raises(ValueError, match="tail is for decay=None"):
        gradx.average_params(HEAVY, 0.9, tail=1.0)
