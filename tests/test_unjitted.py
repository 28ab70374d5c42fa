"""Without `jit` a user's code is Python, called at every step, and the state is made where the parameters are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import gradx
from gradx import eager

W = jnp.ones(3)
PAIR = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}


def steps(tx, n=3, grads=W, params=W, **extras):
    state, updates = tx.init(params), []
    for _ in range(n):
        update, state = tx.update(grads, state, params, **extras)
        updates.append(update)
    return updates


def test_a_function_is_called_at_every_step():
    factor = [1.0]
    tx = gradx.chain(gradx.stateless(lambda updates, params: gradx.tree.scale(factor[0], updates)), gradx.sgd(1.0))
    state = tx.init(W)
    for value in (1.0, 2.0, 3.0):
        factor[0] = value
        np.testing.assert_array_equal(tx.update(W, state, W)[0], -value * W)


def test_a_schedule_is_called_at_every_step():
    seen = []

    def rate(step):
        seen.append(int(step))
        return 0.1 if step < 2 else 0.01

    updates = steps(gradx.sgd(rate), 4)
    np.testing.assert_allclose([-float(u[0]) for u in updates], [0.1, 0.1, 0.01, 0.01], rtol=1e-6)
    assert seen[-1] == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda chosen: gradx.masked(gradx.set_to_zero(), lambda params: dict(chosen)),
        lambda chosen: gradx.freeze(lambda params: dict(chosen)),
        lambda chosen: gradx.partition(
            {True: gradx.set_to_zero(), False: gradx.identity()}, lambda params: dict(chosen)
        ),
    ],
    ids=["masked", "freeze", "partition"],
)
def test_masks_and_labels_are_asked_at_every_step(make):
    chosen = {"w": True, "b": False}
    tx = gradx.chain(make(chosen), gradx.sgd(1.0))
    first, _ = tx.update(PAIR, tx.init(PAIR), PAIR)
    chosen.update(w=False, b=True)
    second, _ = tx.update(PAIR, tx.init(PAIR), PAIR)
    assert [float(x.sum()) for x in (first["w"], first["b"], second["w"], second["b"])] == [0, -3, -6, 0]


def test_pairs_may_be_ordinary_python_and_numpy():
    def init(params):
        return {"largest": np.float32(np.abs(np.asarray(params)).max())}

    def update(updates, state, params=None):
        if float(updates[0]) > 0.5:
            updates = -updates
        largest = max(state["largest"], np.abs(np.asarray(updates)).max())
        return updates / largest, {"largest": np.float32(largest)}

    tx = gradx.chain(gradx.GradientTransformation(init, update), gradx.scale(2.0))
    np.testing.assert_allclose(steps(tx, 2)[-1], -2.0 * W)


def test_python_among_the_extras_stays_python():
    seen = []

    @gradx.transformation
    def watch():
        def update(updates, state, params=None, *, flag, level):
            seen.append((flag, level))
            return (updates if flag and level > 1 else gradx.tree.scale(0.0, updates)), state

        return lambda params: (), update

    steps(watch(), 1, flag=True, level=2)
    assert seen == [(True, 2)]
    assert type(seen[0][0]) is bool
    assert type(seen[0][1]) is int


def test_what_a_user_keeps_in_a_loop_keeps_its_value():
    """A closure made anew with the same code is another function."""
    for value in (1.0, 2.0):
        tx = gradx.stateless_with_tree_map(lambda update, param, value=value: value * update)
        np.testing.assert_array_equal(steps(tx, 1)[0], value * W)


CONTAINED = {
    "alone": gradx.adam(0.1),
    "beside a user's function": gradx.chain(gradx.stateless(lambda updates, params: updates), gradx.adam(0.1)),
    "scheduled": gradx.adam(gradx.linear_schedule(0.1, 0.0, 10)),
    "under a mask": gradx.masked(gradx.adam(0.1), lambda params: True),
    "accumulating": gradx.MultiSteps(gradx.adam(0.1), 2),
}


@pytest.mark.parametrize("tx", CONTAINED.values(), ids=CONTAINED)
@pytest.mark.parametrize("place", ["second device", "mesh of one", "mesh of two", "host"])
def test_the_state_is_made_where_the_parameters_are(tx, place):
    devices = jax.devices()
    if len(devices) < 2:
        pytest.skip("one device")
    if place == "second device":
        where = jax.sharding.SingleDeviceSharding(devices[1])
    elif place == "host":
        where = jax.sharding.SingleDeviceSharding(devices[0], memory_kind=devices[0].addressable_memories()[-1].kind)
    else:
        mesh = jax.make_mesh((1 if place == "mesh of one" else 2,), ("x",), axis_types=(AxisType.Auto,))
        where = NamedSharding(mesh, PartitionSpec("x"))
    params = {"w": jax.device_put(jnp.ones((4, 2)), where)}
    state = tx.init(params)
    moments = [x for x in jax.tree.leaves(state) if x.shape == (4, 2)]
    assert len(moments) >= 2
    assert all(x.sharding == where for x in moments)


def test_a_value_of_gradx_inside_a_users_chain_is_initialised_by_one_program(monkeypatch):
    from gradx import running

    programs, compiled = [], running.compiled_init
    monkeypatch.setattr(running, "compiled_init", lambda tx, params: programs.append(tx) or compiled(tx, params))
    adam = gradx.adam(0.1)
    gradx.chain(gradx.stateless(lambda updates, params: updates), adam).init(PAIR)
    assert programs == [adam]


def test_the_same_answers_of_a_mask_make_the_same_program(monkeypatch):
    tx = gradx.adamw(0.1, mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params))
    state = tx.init(PAIR)
    tx.update(PAIR, state, PAIR)
    from gradx import boundary

    monkeypatch.setattr(boundary, "run_update", None)
    tx.update(PAIR, state, PAIR)


def test_a_foreign_recipe_works():
    import optax

    tx = gradx.transformation(optax.lion)(0.5, weight_decay=0.0)
    np.testing.assert_allclose(steps(tx, 1)[0], -0.5 * W)


def test_what_a_mesh_calls_usual_is_not_so_outside():
    """The place of new arrays was kept from the first call, under `jax.set_mesh` too: the rest ran uncompiled."""
    mesh = jax.make_mesh((2,), ("x",), axis_types=(AxisType.Auto,))
    eager._default_sharding.cache_clear()
    with jax.set_mesh(mesh):
        assert eager.are_ordinary(jnp.ones(3))
    assert eager.are_ordinary(jnp.ones(3))
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        assert not eager.are_ordinary(jnp.ones(3))


@pytest.mark.parametrize("make", [gradx.adam, gradx.lbfgs, gradx.novograd, gradx.lamb], ids=lambda f: f.__name__)
def test_shapes_stand_for_parameters_that_are_not_there_yet(make):
    tx = gradx.chain(gradx.clip(1.0), make(0.1))
    shapes = {"w": jax.ShapeDtypeStruct((2, 3), jnp.float32), "b": jnp.ones(3)}
    found, expected = tx.init(shapes), tx.init({"w": jnp.zeros((2, 3)), "b": jnp.ones(3)})
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
