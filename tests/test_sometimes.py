"""What happens at some steps only: in place, derived in both modes, mapped, scanned, on shards."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import gradx
from gradx.sometimes import sometimes
from gradx.testing import assert_close
from tests.test_cost import SIZE, compiled_step

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array(0.5)}


def at_odd_steps(step):
    return step % 2 == 1


ADAM, ADAMW = gradx.adam(0.1), gradx.adamw(1e-3)
WRAPPERS = [
    gradx.apply_if_finite(ADAM, 3),
    gradx.skip_outliers(ADAM, warmup_steps=2),
    gradx.conditionally_transform(ADAM, at_odd_steps),
    gradx.conditionally_mask(ADAM, at_odd_steps),
    gradx.lookahead(ADAM, 2, 0.5),
    gradx.lookahead(ADAM, 2, 0.5, reset_state=True),
    gradx.average_params(ADAM, None, start=2, every=2),
    gradx.dynamic_loss_scale(ADAM, 8.0),
    gradx.MultiSteps(ADAM, 2),
]
each_wrapper = pytest.mark.parametrize("tx", WRAPPERS, ids=lambda tx: f"{tx.name}{'!' if 'reset' in str(tx) else ''}")


def gradient(params, step):
    return jax.tree.map(lambda p: jnp.cos((step + 1.0) * p), params)


def run(tx, params, steps=5):
    """Return the parameters after each step of a scan."""

    def step(carry, i):
        params, state = carry
        updates, state = tx.update(gradient(params, i), state, params)
        params = gradx.apply_updates(params, updates)
        return (params, state), params

    return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(float(steps)))[1]


def one_by_one(tx, params, steps=5):
    """Return the parameters after each step, without scan or jit."""
    state, path = tx.init(params), []
    for i in range(steps):
        updates, state = tx.update(gradient(params, jnp.float32(i)), state, params)
        params = gradx.apply_updates(params, updates)
        path.append(params)
    return jax.tree.map(lambda *x: jnp.stack(x), *path)


# The helper itself


def test_it_runs_under_pmap():
    tx = gradx.apply_if_finite(gradx.sgd(1.0), 3)

    def step(g):
        return tx.update(g, tx.init(g), g)[0]

    updates = jax.pmap(step, devices=jax.devices()[:2])(jnp.array([1.0, jnp.nan]))
    np.testing.assert_array_equal(updates, [-1.0, 0.0])


def test_a_concrete_verdict_is_pythons_if():
    calls = []
    assert sometimes(True, lambda x: calls.append(1) or -x, 2.0) == -2.0
    assert sometimes(np.bool_(False), lambda x: calls.append(1) or -x, 2.0) == 2.0
    assert len(calls) == 1


def test_derivatives_are_those_of_the_branch_that_is_taken():
    def f(x, ready):
        return sometimes(ready, lambda x: x**2, x)

    for ready, slope in ((True, 6.0), (False, 1.0)):
        for derive in (jax.grad, jax.jacfwd, lambda f: jax.jacrev(f)):
            assert jax.jit(derive(f))(3.0, ready) == slope


def test_what_is_not_taken_is_not_differentiated():
    def f(x):
        return sometimes(x > 0, jnp.sqrt, x)

    assert jax.jit(jax.grad(f))(-1.0) == 1.0


def test_vmap_takes_a_verdict_for_each():
    got = jax.vmap(lambda ready, x: sometimes(ready, jnp.negative, x))(jnp.array([True, False]), jnp.ones(2))
    np.testing.assert_array_equal(got, [-1.0, 1.0])


# Everything that uses it

COSTS = [
    (gradx.apply_if_finite(ADAMW, 5), 56.1, 4.1),
    (gradx.skip_outliers(ADAMW), 56.1, 4.1),
    (gradx.dynamic_loss_scale(ADAMW), 56.1, 4.1),
    (gradx.conditionally_mask(ADAMW, at_odd_steps), 52.1, 4.1),
    (gradx.conditionally_transform(ADAMW, at_odd_steps), 60.1, 4.1),
    (gradx.lookahead(ADAMW, 5, 0.5), 80.1, 4.1),
    (gradx.lookahead(ADAMW, 5, 0.5, reset_state=True), 92.1, 4.1),
    (gradx.average_params(ADAMW), 52.1, 0.1),
    (gradx.average_params(ADAMW, None, start=5, every=3), 52.1, 0.1),
    (gradx.average_params(ADAMW, overwrite_every=5), 68.1, 4.1),
    (gradx.static_loss_scale(ADAMW), 40.1, 0.1),
    (gradx.chain(ADAMW, gradx.apply_every(4)), 56.1, 0.1),
]


@pytest.mark.parametrize(("tx", "bytes_per_parameter", "temporaries"), COSTS, ids=lambda x: str(x))
def test_states_are_renewed_in_place(tx, bytes_per_parameter, temporaries):
    """The update that a conditional returns takes one array; the state takes none."""
    compiled = compiled_step(tx)
    assert compiled.cost_analysis()["bytes accessed"] / SIZE <= bytes_per_parameter
    assert compiled.memory_analysis().temp_size_in_bytes / SIZE <= temporaries


@each_wrapper
def test_the_conditional_returns_what_it_is_given(tx):
    program = jax.make_jaxpr(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)
    (cond,) = [eqn for eqn in program.eqns if eqn.primitive.name == "cond"]
    _, untouched = sorted((branch.jaxpr for branch in cond.params["branches"]), key=lambda x: -len(x.eqns))
    assert not untouched.eqns
    assert set(untouched.outvars) <= set(untouched.invars)


@each_wrapper
def test_scan_is_a_loop(tx):
    assert_close(jax.jit(functools.partial(run, tx))(PARAMS), one_by_one(tx, PARAMS))


@each_wrapper
def test_vmap_is_each_alone(tx):
    other = gradx.tree.scale(-0.5, PARAMS)
    both = jax.vmap(functools.partial(run, tx))(jax.tree.map(lambda a, b: jnp.stack([a, b]), PARAMS, other))
    for i, params in enumerate((PARAMS, other)):
        assert_close(jax.tree.map(lambda x, i=i: x[i], both), run(tx, params), rtol=1e-4, atol=1e-5)


@each_wrapper
def test_both_modes_derive_alike(tx):
    def total(scale):
        params = gradx.tree.cast(PARAMS, jnp.float64)
        return gradx.tree.sum(run(tx, gradx.tree.scale(scale, params)))

    with jax.enable_x64(True):
        at, step = jnp.float64(1.1), 1e-6
        forward, backward = jax.jit(jax.jacfwd(total))(at), jax.jit(jax.grad(total))(at)
        difference = (total(at + step) - total(at - step)) / (2 * step)
    np.testing.assert_allclose(forward, backward, rtol=1e-9)
    np.testing.assert_allclose(forward, difference, rtol=1e-4)


@each_wrapper
def test_each_shard_does_what_it_would_alone(tx):
    mesh = jax.make_mesh((4,), ("part",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    params = jnp.arange(1.0, 9.0).reshape(4, 2)
    spread = PartitionSpec("part")
    parts = jax.shard_map(functools.partial(run, tx), mesh=mesh, in_specs=spread, out_specs=PartitionSpec(None, "part"))
    alone = jnp.concatenate([run(tx, params[i : i + 1]) for i in range(4)], axis=1)
    assert_close(jax.jit(parts)(params), alone, rtol=1e-4, atol=1e-5)


def test_a_target_network_is_renewed_in_place():
    new, old = jnp.zeros(1000), jnp.ones(1000)
    program = jax.jit(gradx.periodic_update, donate_argnums=1).lower(new, old, 3, 2).compile()
    assert program.memory_analysis().temp_size_in_bytes < 0.1 * old.nbytes
    assert program.memory_analysis().alias_size_in_bytes == old.nbytes


def test_no_lane_renews_while_none_is_ready():
    def step(count, x):
        return sometimes(count % 3 == 0, jnp.sin, x)

    def conditions(f, *arguments):
        return jax.jit(f).lower(*arguments).compile().as_text().count(" conditional(")

    counts, lanes = jnp.arange(4), jnp.ones((4, 5))
    assert conditions(step, counts[0], lanes[0]) == 1  # a second one inside would copy what it carries
    assert conditions(jax.vmap(step), counts, lanes) == 1
    assert conditions(jax.vmap(jax.vmap(step, in_axes=(None, 0))), counts, lanes[..., None]) == 1
    for counts in (jnp.arange(4), jnp.arange(1, 3)):
        expected = jnp.stack([step(count, row) for count, row in zip(counts, lanes, strict=False)])
        np.testing.assert_array_equal(jax.jit(jax.vmap(step))(counts, lanes[: len(counts)]), expected)
