"""One test for each known fault of Optax that concerns what is built here; the number is the list's."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradx
from gradx.testing import assert_finite

BF16 = jnp.bfloat16


def run(tx, params, grads, steps):
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        updates, state = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params, state


def test_01_the_second_moment_decays_for_bfloat16_parameters():
    tx = gradx.scale_by_adam()
    params = jnp.ones(3, BF16)
    state = tx.init(params)
    _, state = tx.update(jnp.full(3, 100.0, BF16), state)
    peak = state.nu
    for _ in range(100):
        _, state = tx.update(jnp.zeros(3, BF16), state)
    np.testing.assert_allclose(state.nu, peak * 0.999**100, rtol=1e-4)


def test_02_injected_hyperparameters_are_float32():
    tx = gradx.inject_hyperparams(gradx.adam)(0.1)
    params, state = run(tx, jnp.ones(3, BF16), jnp.ones(3, BF16), 3)
    assert {x.dtype for x in state.hyperparams.values()} == {jnp.dtype(jnp.float32)}
    assert_finite(params, "the parameters")


def test_03_norms_of_many_small_leaves():
    ones = [jnp.ones(1, BF16)] * 1000
    np.testing.assert_allclose(gradx.tree.norm(ones), 1000**0.5, rtol=1e-6)
    tens = [jnp.full(1, 10.0, jnp.float16)] * 900  # their squares' sum is no float16
    updates, _ = gradx.clip_by_global_norm(1.0).update(tens, gradx.EmptyState())
    np.testing.assert_allclose(updates[0], 1 / 30, rtol=1e-3)


def test_05_zero_gradients_in_float16_and_a_bound_of_zero():
    tx = gradx.chain(gradx.clip_by_global_norm(0.0), gradx.adam(0.1))
    params, _ = run(tx, jnp.ones(3, jnp.float16), jnp.zeros(3, jnp.float16), 2)
    np.testing.assert_array_equal(params, np.ones(3))


@pytest.mark.parametrize("use_grad_mean", [True, False])
def test_07_one_nan_does_not_poison_the_accumulator(use_grad_mean):
    tx = gradx.MultiSteps(gradx.sgd(1.0), 2, use_grad_mean, gradx.skip_not_finite)
    state = tx.init(jnp.ones(2))
    for grads in ([jnp.nan, 1.0], [1.0, 1.0], [3.0, 3.0]):
        updates, state = tx.update(jnp.array(grads), state)
    np.testing.assert_allclose(updates, [-2.0, -2.0] if use_grad_mean else [-4.0, -4.0])


def test_07_complex_gradients_keep_their_imaginary_part():
    tx = gradx.MultiSteps(gradx.sgd(1.0), 2)
    state = tx.init(jnp.ones(1, jnp.complex64))
    for _ in range(2):
        updates, state = tx.update(jnp.array([1.0 + 2.0j]), state)
    np.testing.assert_allclose(updates, [-1.0 - 2.0j])


def test_09_boundaries_match_the_schedules():
    parts = [gradx.constant_schedule(1.0)] * 3
    with pytest.raises(ValueError, match=r"3 schedules need 2 boundaries, got 1"):
        gradx.join_schedules(parts, [10])


@pytest.mark.parametrize("make", [gradx.adam, gradx.adamw, gradx.nadam, gradx.rmsprop, gradx.adagrad])
def test_11_the_meta_gradient_is_finite_at_a_zero_gradient(make):
    def loss(rate):
        params, tx = jnp.array([1.0, 0.0]), make(rate)
        state = tx.init(params)
        for _ in range(2):
            grads = jax.grad(lambda p: jnp.sum(p**2))(params)
            updates, state = tx.update(grads, state, params)
            params = gradx.apply_updates(params, updates)
        return jnp.sum(params**2)

    assert_finite(jax.grad(loss)(0.1), "the meta-gradient")


def test_12_masked_passes_the_gradient_and_partition_does_not():
    params = grads = {"a": jnp.ones(2), "b": jnp.ones(2)}
    chosen = {"a": True, "b": False}
    climbed, _ = run(gradx.masked(gradx.sgd(0.1), chosen), params, grads, 1)
    assert float(climbed["b"][0]) == 2.0  # as documented
    labels = {"a": "train", "b": "rest"}
    kept, _ = run(gradx.partition({"train": gradx.sgd(0.1), "rest": gradx.set_to_zero()}, labels), params, grads, 1)
    assert float(kept["b"][0]) == 1.0
    frozen = gradx.chain(gradx.sgd(0.1), gradx.freeze({"a": False, "b": True}))
    assert float(run(frozen, params, grads, 1)[0]["b"][0]) == 1.0
    assert gradx.masked.__doc__.splitlines()[0].endswith("a raw gradient stays one.")


@jax.tree_util.register_dataclass
@dataclass
class CallableMask:
    kernel: Any

    def __call__(self, params):
        raise AssertionError("a pytree was called")


def test_13_a_callable_pytree_is_data():
    params = CallableMask(jnp.ones(2))
    for tx in (
        gradx.add_decayed_weights(0.1, CallableMask(True)),
        gradx.partition({"x": gradx.sgd(0.1)}, CallableMask("x")),
    ):
        updates, _ = tx.update(CallableMask(jnp.zeros(2)), tx.init(params), params)
        assert isinstance(updates, CallableMask)


def test_14_decay_in_bfloat16_is_summed_in_float32():
    """Rounded alone, a decay of 1e-3 beside an update of 1 would vanish; a thousand of them do not."""
    tx = gradx.chain(gradx.add_decayed_weights(1e-3), gradx.scale(-1.0), gradx.ema(0.0, debias=False))
    params = jnp.ones(1, BF16)
    state = tx.init(params)
    updates, state = tx.update(jnp.ones(1, BF16), state, params)
    np.testing.assert_allclose(state[2].ema, [-1.001], rtol=1e-6)  # not rounded between the parts
    assert updates.dtype == BF16


def test_15_equal_optimizers_are_equal():
    assert gradx.adam(1e-3) == gradx.adam(1e-3)
    assert hash(gradx.adam(1e-3)) == hash(gradx.adam(1e-3))


def test_16_the_learning_rate_of_a_plain_optimizer_can_be_read():
    tx = gradx.adam(gradx.linear_schedule(1.0, 0.0, 10))
    assert float(gradx.hyperparams(tx, tx.init(jnp.ones(1)))["adam/learning_rate"]) == 1.0


def test_17_accumulation_runs_on_shards_and_leaves_what_has_no_gradient():
    tx = gradx.MultiSteps(gradx.adamw(0.1), 4, should_skip_update_fn=gradx.skip_not_finite)
    params = {"w": jnp.ones(3), "none": None}
    updates, _ = tx.update({"w": None, "none": None}, tx.init(params), params)
    assert updates == {"w": None, "none": None}

    def local(w):
        return tx.update({"w": w, "none": None}, tx.init({"w": w, "none": None}), {"w": w, "none": None})[0]["w"]

    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    spec = jax.sharding.PartitionSpec("x")
    assert jax.jit(jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=spec))(jnp.ones(4)).shape == (4,)


def test_20_extras_reach_the_inside_of_wrappers():
    seen = []

    @gradx.transformation
    def spy(number=1.0):
        def update(updates, state, params=None, *, value):
            seen.append(value)
            return updates, state

        return lambda params: gradx.EmptyState(), update

    for tx in (
        gradx.MultiSteps(spy(), 1),
        gradx.masked(spy(), True),
        gradx.partition({"x": spy()}, "x"),
        gradx.named_chain(("spy", spy())),
        gradx.inject_hyperparams(spy()),
    ):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)), jnp.ones(1), value=jnp.float32(1.0), unknown=2.0)
    assert len(seen) == 5


def test_21_partition_by_path_under_nnx():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.l1, self.l2 = nnx.Linear(2, 3, rngs=rngs), nnx.Linear(3, 1, rngs=rngs)

    def labels(params):
        return gradx.tree.map_with_path(lambda name, x: "train" if name == "l1/kernel" else "rest", params)

    model = Net(nnx.Rngs(0))
    before = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    tx = gradx.partition({"train": gradx.adam(0.1), "rest": gradx.set_to_zero()}, labels)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    optimizer.update(model, nnx.grad(lambda m: jnp.sum(m.l2(m.l1(jnp.ones((1, 2))))))(model))
    after = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before, after)
    assert changed == {"l1": {"kernel": True, "bias": False}, "l2": {"kernel": False, "bias": False}}


def test_24_the_wrong_structure_is_named():
    tx = gradx.sgd(0.1)
    with pytest.raises(ValueError, match=r"sgd: updates has a leaf at 'v' that params lacks; params has a leaf at 'w'"):
        tx.update({"v": jnp.ones(1)}, tx.init({"w": jnp.ones(1)}), {"w": jnp.ones(1)})


def test_26_adaptive_clipping_on_an_explicit_mesh():
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params = jax.device_put(jnp.ones((4, 6)), jax.sharding.NamedSharding(mesh, jax.P("x", None)))
        tx = gradx.adaptive_grad_clip(0.01)
        updates, _ = jax.jit(tx.update)(params, tx.init(params), params)
        assert updates.sharding == params.sharding


@pytest.mark.parametrize(
    ("call", "numbers"),
    [
        (lambda: gradx.linear_schedule(1.0, 0.0, 0), r"transition_steps must be in \[1, inf\], got 0"),
        (lambda: gradx.cosine_decay_schedule(1.0, -5), r"decay_steps must be in \[1, inf\], got -5"),
        (lambda: gradx.warmup_cosine_decay_schedule(0.0, 1.0, 100, 50), r"decay_steps=50 with warmup_steps=100"),
        (lambda: gradx.polynomial_schedule(1.0, 0.0, 2.0, 10, -1), r"transition_begin must be in \[0, inf\], got -1"),
    ],
)
def test_27_impossible_spans_are_refused(call, numbers):
    with pytest.raises(ValueError, match=numbers):
        call()


def test_28_hyperparameters_are_checked():
    for wrong in ({"b1": 1.5}, {"eps": -1.0}, {"learning_rate": "0.1"}):
        with pytest.raises((TypeError, ValueError)):
            gradx.adam(**{"learning_rate": 0.1} | wrong)


def test_30_integer_gradients_are_refused_and_float0_passes():
    params = {"w": jnp.ones(2), "steps": jnp.array(3)}
    tx = gradx.adam(0.1)
    with pytest.raises(TypeError, match=r"adam: the gradient at 'steps' is int32\[\], no float"):
        tx.update({"w": jnp.ones(2), "steps": jnp.array(1)}, tx.init(params), params)
    grads = jax.grad(lambda p: jnp.sum(p["w"] ** 2), allow_int=True)(params)
    updates, _ = tx.update(grads, tx.init(params), params)
    assert updates["steps"].dtype == jax.dtypes.float0
    moved = gradx.apply_updates(params, updates)
    assert int(moved["steps"]) == 3
    assert float(moved["w"][0]) < 1.0
