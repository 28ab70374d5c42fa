"""Optimizers that find their own step size: what their rows in the zoo and their trajectories do not show."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.wrappers.mechanic import tuner_rule
from tests.oracles.recorded import from_torch

PARAMS = {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array(3.0)}


def half_square(params):
    return 0.5 * gradx.tree.norm(params, squared=True)


def train(tx, steps, params=PARAMS, loss=half_square):
    """Return the parameters after some steps, compiled; the loss is handed on."""

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params, value=value)
        return gradx.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params, state


# Polyak's step


def test_polyaks_step_halves_a_quadratic_at_once():
    params, _ = train(gradx.polyak_sgd(), 1)
    assert gradx.tree.allclose(params, gradx.tree.scale(0.5, PARAMS))


def test_polyaks_longest_step_holds_for_the_shortest_gradients():
    tx = gradx.polyak_sgd(max_learning_rate=0.25)
    for size in (1.0, 1e-4, 1e-19):  # the square of the last is no float32
        updates, _ = tx.update({"w": jnp.float32(size)}, tx.init(PARAMS), value=7.0)
        np.testing.assert_allclose(updates["w"], -0.25 * size, rtol=1e-6)


def test_sps_plus_stays_where_the_loss_is_below_its_bound():
    for variant, expected in (("sps", 0.125), ("sps+", 0.0)):
        tx = gradx.polyak_sgd(f_min=1.0, variant=variant)
        updates, _ = tx.update({"w": jnp.float32(2.0)}, tx.init(PARAMS), value=0.75)
        np.testing.assert_allclose(updates["w"], expected)


def test_polyak_wants_a_variant_that_it_knows():
    with pytest.raises(ValueError, match=r"scale_by_polyak: variant must be 'sps' or 'sps\+', got 'spsm'"):
        gradx.scale_by_polyak(variant="spsm")


@pytest.mark.parametrize("value", [jnp.ones(2), 1j, True], ids=str)
def test_the_loss_must_be_one_number(value):
    tx = gradx.polyak_sgd()
    with pytest.raises(TypeError, match=r"scale_by_polyak: value must be one real number, got (float|complex|bool)"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=value)


def test_the_loss_is_asked_for_by_name():
    tx = gradx.polyak_sgd()
    with pytest.raises(TypeError, match=r"scale_by_polyak needs value: call tx.update\(updates, state, params, value"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


def test_a_loss_of_low_precision_is_lifted():
    tx = gradx.polyak_sgd(f_min=0.001)
    low, _ = tx.update(PARAMS, tx.init(PARAMS), value=jnp.bfloat16(1.0))
    full, _ = tx.update(PARAMS, tx.init(PARAMS), value=1.0)
    assert gradx.tree.allclose(low, full, rtol=1e-6)


@pytest.mark.parametrize("make", [gradx.prodigy, gradx.dadapt_adamw])
def test_betas_are_checked_one_by_one(make):
    with pytest.raises(ValueError, match=r"betas\[1\] must be in \[0, 1\), got 1.0"):
        make(betas=(0.9, 1.0))


# Distance over gradients


@pytest.mark.parametrize(
    ("init_step", "message"),
    [
        (("far", 1.0), r"scale_by_dog: init_step must be \('distance', r\), .* got 'far'"),
        (("distance", 0.0), r"scale_by_dog: init_step\[1\] must be in \(0, inf\], got 0.0"),
    ],
)
def test_dog_wants_a_first_step_that_it_knows(init_step, message):
    with pytest.raises(ValueError, match=message):
        gradx.dog(init_step=init_step)


def test_layerwise_dog_is_optaxs_but_for_scalars():
    """Optax keeps the sum of squares as an array of one, which makes an array of a scalar parameter's update."""
    transform = pytest.importorskip("optax._src.transform")
    ours, theirs = gradx.scale_by_distance_over_gradients(0.1), transform.scale_by_distance_over_gradients(0.1)
    params = {"w": PARAMS["w"], "v": jnp.ones((2, 3))}
    state, peer = ours.init(params), theirs.init(params)
    for size in (1.0, 0.3, 2.0):
        grads = jax.tree.map(lambda p, size=size: size * p - 0.1, params)
        updates, state = ours.update(grads, state, params)
        expected, peer = theirs.update(grads, peer, params)
        assert gradx.tree.allclose(updates, expected, rtol=1e-6)
        params = gradx.apply_updates(params, gradx.tree.scale(-1.0, updates))
    scalar = {"b": jnp.float32(2.0)}
    assert jnp.shape(theirs.update(scalar, theirs.init(scalar), scalar)[0]["b"]) == (1,)
    assert jnp.shape(ours.update(scalar, ours.init(scalar), scalar)[0]["b"]) == ()


def test_the_start_is_kept_in_the_dtype_asked_for():
    for given, kept in ((None, jnp.float32), ("bfloat16", jnp.bfloat16)):
        state = gradx.scale_by_distance_over_gradients(param_dtype=given).init(PARAMS)
        assert gradx.tree.dtype(state.init_params) == kept
        assert gradx.tree.dtype(state.max_dist) == jnp.float32


# A plateau


LOSSES = np.round(3 * np.exp(-np.arange(60) / 12) + 0.5 * np.abs(np.sin(3.1 * np.arange(60) ** 1.1)), 3) + 0.5
PLATEAUS = {
    "relative": {
        "factor": 0.5, "patience": 1, "threshold": 0.05, "threshold_mode": "rel", "cooldown": 3, "min_lr": 0.0,
    },
    "absolute, losses below 0": {
        "factor": 0.7, "patience": 0, "threshold": 0.1, "threshold_mode": "abs", "cooldown": 0, "min_lr": 0.02,
    },
}  # fmt: skip


def scales(tx, values):
    """Return the scale after each value."""
    state, found = tx.init(0.0), []
    for value in values:
        updates, state = tx.update(1.0, state, value=value)
        found.append(float(updates))
    return found


@pytest.mark.parametrize(
    ("hyper", "values", "expected"),
    [
        # a fall by less than the margin is none, above 0 and below it (fault 6), where Optax sees none at all
        ({"rtol": 0.1}, [10.0, 8.9, 8.1, 7.2], [1, 1, 0.5, 1 / 2]),
        ({"rtol": 0.1}, [-10.0, -11.1, -12.1, -13.4], [1, 1, 0.5, 1 / 2]),
        ({"rtol": 0.0, "atol": 1.0}, [10.0, 8.9, 7.95, 6.8], [1, 1, 0.5, 1 / 2]),
        ({"rtol": 0.0, "cooldown": 2}, [1.0] * 6, [1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ({"rtol": 0.0, "min_scale": 0.3}, [1.0] * 4, [1, 0.5, 0.3, 0.3]),
        ({"rtol": 0.0, "accumulation_size": 2}, [3.0, 1.0, 2.0, 2.0, 0.0, 1.0], [1, 1, 1, 0.5, 0.5, 0.5]),
    ],
    ids=str,
)
def test_the_scale_shrinks_on_a_plateau(hyper, values, expected):
    tx = gradx.reduce_on_plateau(factor=0.5, patience=1, **hyper)
    np.testing.assert_allclose(scales(tx, values), expected, rtol=1e-6)


@pytest.mark.parametrize("name", PLATEAUS)
def test_torch_shrinks_at_the_same_values(name):
    """Torch's patience is how many may pass, gradx's which one is too many: one more."""
    options = PLATEAUS[name]
    values = LOSSES if options["threshold_mode"] == "rel" else LOSSES - 4.0

    def run(torch):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler, rates = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options), []
        for value in values:
            scheduler.step(float(value))
            rates.append(optimizer.param_groups[0]["lr"])
        return {"rates": np.array(rates)}

    margin = "rtol" if options["threshold_mode"] == "rel" else "atol"
    hyper = {"rtol": 0.0, margin: options["threshold"], "cooldown": options["cooldown"]}
    tx = gradx.reduce_on_plateau(options["factor"], options["patience"] + 1, min_scale=options["min_lr"], **hyper)
    theirs = from_torch(f"plateau {name}", run)["rates"]
    assert len(set(theirs)) >= 4
    np.testing.assert_allclose(scales(tx, values), theirs, rtol=1e-6)


def test_means_that_cool_down_do_not_count():
    tx = gradx.reduce_on_plateau(factor=0.5, patience=2, cooldown=2)
    assert scales(tx, [1.0] * 7) == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_a_zero_update_has_no_length_and_stays():
    tx = gradx.normalize()
    updates, _ = tx.update({"w": jnp.zeros(3)}, tx.init(PARAMS))
    assert np.array_equal(updates["w"], np.zeros(3))


# MoMo


@pytest.mark.parametrize("tx", [gradx.momo(0.25), gradx.momo_adam(0.25)], ids=str)
def test_momos_longest_step_holds_for_the_shortest_gradients(tx):
    updates, _ = tx.update({"w": jnp.float32(1e-5)}, tx.init({"w": 1.0}), {"w": 1.0}, value=7.0)
    np.testing.assert_allclose(updates["w"], -0.25 * (1e-5 if tx.name == "momo" else 1.0), rtol=2e-3)


def test_momo_with_decay_lands_where_its_model_is_at_the_bound():
    """The model value + g · (p_new - p) is lower_bound there: Optax misses it."""
    tx = gradx.momo(1.0, weight_decay=0.5, lower_bound=1.0)
    updates, _ = tx.update(4.0, tx.init(2.0), 2.0, value=4.0)
    np.testing.assert_allclose(4.0 + 4.0 * updates, 1.0, rtol=1e-6)


# Mechanic and sharpness-aware minimization


def test_mechanic_starts_where_training_does():
    tx = gradx.mechanize(gradx.sgd(1.0), s_init=0.5)
    other = gradx.tree.scale(3.0, PARAMS)
    updates, state = tx.update(PARAMS, tx.init(PARAMS), other)
    expected, fresh = tx.update(PARAMS, tx.init(other), other)
    assert gradx.tree.allclose(updates, expected)
    assert gradx.tree.allclose(state.x0, fresh.x0)


def test_a_tuner_of_mechanic_that_has_lost_bets_what_it_began_with():
    r, m, v, s = (jnp.array([x]) for x in (-8.0, 2.0, 1.0, 0.5))
    r, m, v, s = tuner_rule(r, m, v, s, jnp.float32(3.0), jnp.array([0.5]), eps=0.0, s_init=0.1)
    np.testing.assert_allclose([r[0], m[0], v[0]], [-4.0 + 2.0 * 0.5, 3.0, 0.25 + 9.0])
    np.testing.assert_allclose(s[0], 0.1 * 3.0 / np.sqrt(9.25), rtol=1e-6)


def test_sam_in_opaque_mode_is_a_whole_round():
    parts = gradx.sgd(0.1, momentum=0.9), gradx.chain(gradx.normalize(), gradx.sgd(0.3))
    at_once, apart = gradx.sam(*parts, 3, opaque_mode=True), gradx.sam(*parts, 3)
    grad_fn = jax.grad(lambda params, i: (1.0 + i) * half_square(params))
    params, other = PARAMS, PARAMS
    state, rounds = at_once.init(PARAMS), apart.init(PARAMS)
    for _ in range(2):
        updates, state = at_once.update(grad_fn(params, 0.0), state, params, grad_fn=grad_fn)
        params = gradx.apply_updates(params, updates)
        home = other
        for i in (0.0, 0.0, 1.0):  # the first gradient is the caller's
            assert gradx.tree.allclose(gradx.eval_params(rounds, other), home)
            updates, rounds = apart.update(grad_fn(other, i), rounds, other)
            other = gradx.apply_updates(other, updates)
        assert gradx.tree.allclose(params, other, rtol=1e-5)
    assert gradx.eval_params(state, params) is params


@pytest.mark.parametrize("resets", [True, False])
def test_sam_in_opaque_mode_resets_the_adversary_if_told(resets):
    tx = gradx.sam(gradx.sgd(0.1), gradx.sgd(0.1, momentum=0.5), reset_state=resets, opaque_mode=True)
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS, grad_fn=lambda params, i: params)
    assert bool(gradx.tree.allclose(state.adv_state, tx.init(PARAMS).adv_state)) == resets


def test_sam_in_opaque_mode_asks_for_the_gradient():
    tx = gradx.sam(gradx.sgd(0.1), gradx.sgd(0.1), opaque_mode=True)
    with pytest.raises(TypeError, match="sam needs grad_fn"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


def test_between_two_rounds_of_sam_the_parameters_proper_are_evaluated():
    tx = gradx.chain(gradx.sam(gradx.sgd(0.1), gradx.sgd(0.3)))
    updates, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    climbed = gradx.apply_updates(PARAMS, updates)
    assert gradx.tree.allclose(gradx.eval_params(state, climbed), PARAMS)


def test_sam_averages_its_own_gradients_over_the_batch():
    tx = gradx.sam(gradx.sgd(1.0), gradx.sgd(0.0), opaque_mode=True, batch_axis_name="batch")

    def step(x):
        grad_fn = lambda params, i: {"w": x * jnp.ones(())}  # noqa: E731
        return tx.update(grad_fn({}, 0), tx.init({"w": x}), {"w": x}, grad_fn=grad_fn)[0]["w"]

    np.testing.assert_allclose(jax.vmap(step, axis_name="batch")(jnp.array([1.0, 3.0])), [-2.0, -2.0])


# What a state keeps of the parameters

KEEPS = [
    gradx.schedule_free_sgd(),
    gradx.prodigy(),
    gradx.dog(),
    gradx.dowg(),
    gradx.scale_by_distance_over_gradients(),
    gradx.cocob(),
    gradx.mechanize(gradx.sgd(1.0)),
    gradx.sam(gradx.sgd(0.1), gradx.sgd(0.1)),
]


@pytest.mark.parametrize("tx", KEEPS, ids=str)
def test_what_is_kept_is_a_copy_also_where_nothing_is_compiled(tx):
    """Fault 18: a state that shares a buffer with the parameters cannot be donated with them."""
    with jax.disable_jit():
        state = tx.init(PARAMS)
    buffers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((PARAMS, state))]
    assert len(set(buffers)) == len(buffers)


# Leaves without a gradient

WITH_DISTANCES = [
    gradx.prodigy(),
    gradx.dadapt_adamw(),
    gradx.dog(init_step=("distance", 0.1)),
    gradx.dowg(),
    gradx.scale_by_distance_over_gradients(),
    gradx.cocob(),
    gradx.momo(),
    gradx.momo_adam(),
    gradx.mechanize(gradx.sgd(1.0)),
    gradx.sam(gradx.sgd(0.1), gradx.sgd(0.1)),
]


@pytest.mark.parametrize("tx", WITH_DISTANCES, ids=str)
def test_a_leaf_without_gradient_counts_for_nothing(tx):
    grads = {"w": jnp.array([0.3, 0.1, -0.2]), "b": None}
    state, alone = tx.init(PARAMS), tx.init({"w": PARAMS["w"]})
    for _ in range(3):
        updates, state = tx.update(grads, state, PARAMS, value=1.0)
        expected, alone = tx.update({"w": grads["w"]}, alone, {"w": PARAMS["w"]}, value=1.0)
    assert updates["b"] is None
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-6)


# Costs: bytes and temporaries of a whole step, for each parameter

COSTS = {
    "polyak_sgd": (gradx.polyak_sgd(), 16.1, 0.1),
    "prodigy": (gradx.prodigy(), 68.1, 0.1),
    "dadapt_adamw": (gradx.dadapt_adamw(), 76.1, 4.1),
    "dog": (gradx.dog(), 24.1, 0.1),
    "momo": (gradx.momo(), 44.1, 0.1),
    "momo_adam": (gradx.momo_adam(), 80.1, 8.1),
    "mechanize(adamw)": (gradx.mechanize(gradx.adamw(1.0)), 96.1, 4.1),
    "sam(adamw)": (gradx.sam(gradx.adamw(0.1), gradx.sgd(0.1)), 84.1, 4.1),
    "dowg": (gradx.dowg(), 24.1, 0.1),
    "cocob": (gradx.cocob(), 84.1, 0.1),
    "cocob with decay": (gradx.cocob(weight_decay=0.1), 96.1, 0.1),
}


@pytest.mark.parametrize("name", COSTS)
def test_bytes_and_temporaries(name):
    tx, nbytes, temporaries = COSTS[name]
    params = {"kernel": jnp.ones((500, 400)), "other": jnp.ones((400, 500)), "bias": jnp.ones(1000)}

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params, value=1.0)
        return gradx.apply_updates(params, updates), state

    compiled, size = step.lower(params, tx.init(params), params).compile(), gradx.tree.size(params)
    assert compiled.cost_analysis()["bytes accessed"] / size <= nbytes
    assert compiled.memory_analysis().temp_size_in_bytes / size <= temporaries
