"""Where every leaf of a state goes: told for arrays and for shapes, applied with and without jit."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradx
from gradx import tree
from gradx.linalg.sharding import gather
from gradx.sharding import describe_shardings, init, state_shardings, zero1
from tests.sharding import devices
from tests.sharding.devices import AUTO, EXPLICIT, KINDS, bytes_each, mesh_of, put

SPECS = {"kernel": P("data", "model"), "bias": P("model"), "odd": P(), "scale": P()}
SHAPES = {"kernel": (4, 8), "bias": (8,), "odd": (3, 5), "scale": ()}


def mesh_2d(kind=AUTO):
    return mesh_of(kind, (2, 4), ("data", "model"))


def shapes(mesh, specs=SPECS):
    return {
        name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, specs[name]))
        for name, shape in SHAPES.items()
    }


def arrays(mesh, specs=SPECS):
    return {name: put(mesh, jnp.ones(shape), specs[name]) for name, shape in SHAPES.items()}


def specs_of(shardings):
    """Return the specs without trailing axes that are not split."""
    return jax.tree.map(lambda x: P(*[e or None for e in x.spec][: last_split(x.spec)]), shardings)


def last_split(spec):
    return max((i + 1 for i, entry in enumerate(spec) if entry is not None), default=0)


@pytest.mark.parametrize("make", [shapes, arrays])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_moments_lie_as_parameters_do(kind, make):
    found = specs_of(state_shardings(gradx.adam(gradx.linear_schedule(0.1, 0.0, 5)), make(mesh_2d(kind))))
    assert found[0].mu == found[0].nu == SPECS
    assert found[0].count == P()


def test_what_is_smaller_or_larger_than_a_parameter_lies_along_the_axes_that_it_has():
    params = shapes(mesh_2d())
    factored = specs_of(state_shardings(gradx.scale_by_factored_rms(min_dim_size_to_factor=2), params))
    assert (factored.v_row["kernel"], factored.v_col["kernel"]) == (P("data"), P("model"))
    assert factored.v["bias"] == P("model")
    sums = specs_of(state_shardings(gradx.scale_by_sm3(), params)).mu["kernel"]
    assert jax.tree.leaves(sums) == [P("data"), P("model")]
    memory = specs_of(state_shardings(gradx.scale_by_lbfgs(memory_size=8), params)).diff_params_memory
    assert memory["kernel"] == P(None, "data", "model")


def test_rows_and_columns_of_a_square_are_told_apart():
    sharding = NamedSharding(mesh_2d(), P("data", "model"))
    params = {"w": jax.ShapeDtypeStruct((4, 4), jnp.float32, sharding=sharding)}
    factored = specs_of(state_shardings(gradx.scale_by_factored_rms(min_dim_size_to_factor=2), params))
    assert {factored.v_row["w"], factored.v_col["w"]} == {P("data"), P("model")}


INJECTED = gradx.inject_hyperparams(gradx.adamw)(0.1)
NESTED = gradx.chain(
    gradx.clip_by_global_norm(1.0),
    gradx.partition(
        {
            "a": gradx.MultiSteps(gradx.inject_hyperparams(gradx.adamw)(0.1), 2),
            "b": gradx.lookahead(gradx.lion(0.1), 2, 0.5),
        },
        {"kernel": "a", "bias": "b", "odd": "a", "scale": "b"},
    ),
)


@pytest.mark.parametrize("tx", [NESTED, gradx.chain(NESTED, gradx.average_params(gradx.identity()))])
def test_nested_states(tx):
    state = specs_of(state_shardings(tx, shapes(mesh_2d())))
    a, b = (state[-1] if tx is NESTED else state[0][-1]).inner_states.values()
    assert a.acc_grads["kernel"] == a.inner_opt_state.inner_state[0].mu["kernel"] == P("data", "model")
    assert set(jax.tree.leaves(a.inner_opt_state.hyperparams)) == {P()}
    assert gradx.tree.get(b, "mu")["bias"] == P("model")


def test_states_of_optax():
    params = shapes(mesh_2d())
    adam = specs_of(state_shardings(optax.adamw(optax.linear_schedule(0.1, 0.0, 5)), params))
    assert adam[0].mu == adam[0].nu == SPECS
    trace, factored = specs_of(
        state_shardings(optax.chain(optax.trace(0.9), optax.scale_by_factored_rms(min_dim_size_to_factor=2)), params)
    )
    assert trace.trace == SPECS
    assert (factored.v["bias"], factored.v_row["kernel"], factored.v_col["kernel"]) == (
        P("model"),
        P("data"),
        P("model"),
    )


def test_an_init_that_explicit_axes_refuse():
    """Its leaves follow by shape: those like a parameter lie as it does, the others everywhere."""

    def start(params):
        return {"gram": params["kernel"] @ params["kernel"].T, "like": jax.tree.map(jnp.zeros_like, params)}

    tx = gradx.GradientTransformation(start, lambda updates, state, params=None: (updates, state))
    assert specs_of(state_shardings(tx, shapes(mesh_2d()))) == {"gram": P(), "like": SPECS}


def test_zeros_made_of_a_shape_alone():
    def start(params):
        return jax.tree.map(lambda x: jnp.zeros(x.shape), params)

    tx = gradx.GradientTransformation(start, lambda updates, state, params=None: (updates, state))
    assert specs_of(state_shardings(tx, shapes(mesh_2d()))) == SPECS


def test_an_init_that_fails_says_why():
    def start(params):
        raise KeyError("mine")

    tx = gradx.GradientTransformation(start, lambda updates, state, params=None: (updates, state))
    with pytest.raises(KeyError, match="mine"):
        state_shardings(tx, shapes(mesh_2d()))


# ZeRO-1

TENSOR = {"kernel": P(None, "model"), "bias": P("model"), "odd": P(), "scale": P()}


def test_zero1_splits_the_largest_free_axis_that_divides():
    params = shapes(mesh_2d(), TENSOR)
    found = specs_of(state_shardings(gradx.adam(0.1), params, rule="zero1"))[0]
    assert found.mu == {"kernel": P("data", "model"), "bias": P("model"), "odd": P(), "scale": P()}
    found = specs_of(state_shardings(gradx.adam(0.1), params, rule="zero1", axis="model"))[0]
    assert found.mu == {"kernel": P(None, "model"), "bias": P("model"), "odd": P(), "scale": P()}
    whole = {"w": jax.ShapeDtypeStruct((8, 16, 16), jnp.float32), "v": jax.ShapeDtypeStruct((8,), jnp.float32)}
    found = specs_of(state_shardings(gradx.adam(0.1), whole, mesh_2d(), "zero1", axis=("data", "model")))[0]
    assert found.mu == {"w": P(None, ("data", "model")), "v": P(("data", "model"))}


def test_zero1_splits_what_cannot_follow():
    params = {"kernel": jax.ShapeDtypeStruct((4, 8), jnp.float32), "bias": jax.ShapeDtypeStruct((8,), jnp.float32)}
    mesh = mesh_2d()
    factored = gradx.scale_by_factored_rms(min_dim_size_to_factor=2)
    found = specs_of(state_shardings(factored, params, mesh, "zero1"))
    assert found.v_row["kernel"] == found.v_col["kernel"] == P("data")
    flat = specs_of(state_shardings(gradx.flatten(gradx.adam(0.1)), params, mesh, "zero1"))
    assert flat[0].mu == P("data")
    projected = specs_of(state_shardings(gradx.galore(0.1, rank=2), params, mesh, "zero1"))
    assert projected[0].projector["kernel"] == P("data")
    memory = specs_of(state_shardings(gradx.scale_by_lbfgs(memory_size=32), params, mesh, "zero1"))
    assert memory.diff_params_memory["kernel"] == P(None, None, "data")  # as the parameter's part, not along the memory


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_device_holds_its_part_of_the_state(kind):
    mesh = mesh_of(kind)
    params = put(mesh, {"w": jnp.ones((16, 24)), "v": jnp.ones(8)})
    tx = zero1(gradx.adam(0.1))
    state = init(gradx.adam(0.1), params, rule="zero1")
    for made in (state, tx.init(params), jax.jit(tx.init)(params)):
        assert set(bytes_each(made[0].mu).values()) == {4 * (16 * 24 + 8) // 8}
        assert made[0].count.sharding.is_fully_replicated
    assert state_shardings(tx, params) == state_shardings(gradx.adam(0.1), params, rule="zero1")


# A function


def test_a_function_has_the_last_word():
    mesh = mesh_2d()

    def rule(path, leaf, param):
        if path.endswith("nu/kernel"):
            assert leaf.sharding.spec == P("data", "model")
            assert param.shape == (4, 8)
            return P("model")
        assert (param is None) == path.endswith("count")
        return leaf.sharding.spec

    found = specs_of(state_shardings(gradx.adam(0.1), shapes(mesh), rule=rule))[0]
    assert (found.mu["kernel"], found.nu["kernel"]) == (P("data", "model"), P("model"))
    assert "rule rule" in describe_shardings(gradx.adam(0.1), shapes(mesh), rule=rule)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rule": "zero2"}, r"rule must be one of \('like_params', 'zero1'\) or a function, got 'zero2'"),
        ({"rule": "zero1", "axis": "batch"}, r"the mesh has the axes \('data', 'model'\), no 'batch'"),
        ({"rule": lambda path, leaf, param: P("data")}, r"int32\[\] at '0/count' cannot be split as .*: it has 0 axes"),
        (
            {"rule": lambda path, leaf, param: P(*("data",) * bool(leaf.ndim))},
            r"float32\[3,5\] at '0/mu/odd' cannot be",
        ),
        ({"memory_kind": "attic"}, r"the memories of a cpu device here are \[.*\], no 'attic'"),
    ],
)
def test_what_it_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        state_shardings(gradx.adam(0.1), shapes(mesh_2d()), **arguments)


def test_without_a_mesh():
    with pytest.raises(ValueError, match="state_shardings: no mesh: give mesh="):
        state_shardings(gradx.adam(0.1), {"w": jnp.ones(2)})
    with jax.set_mesh(mesh_2d()):
        found = state_shardings(gradx.adam(0.1), {"w": jnp.ones(2)})
    assert found[0].mu["w"].mesh == mesh_2d()


def test_the_report():
    text = describe_shardings(gradx.adafactor(0.1, min_dim_size_to_factor=2), shapes(mesh_2d(), TENSOR), rule="zero1")
    head, *lines = text.splitlines()
    assert head.startswith("data 2 x model 4, rule zero1: ")
    rows = {line.split()[0]: re.split("  +", line)[-1] for line in lines}
    assert len(rows) == len(jax.tree.leaves(jax.eval_shape(gradx.adafactor(0.1).init, shapes(mesh_2d()))))
    assert rows["0/count"] == "replicated: a scalar"
    assert rows["0/v_row/kernel"] == "from kernel, split over 'data'"
    assert rows["0/v/bias"] == "as bias"
    assert rows["0/v/scale"] == "replicated: a scalar"
    assert "no axis that 'data' divides" in rows["0/v_row/odd"]


# Placing


@pytest.mark.parametrize("rule", ["like_params", "zero1"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_init_puts_the_state_there(kind, rule):
    mesh = mesh_2d(kind)
    params, tx = arrays(mesh, TENSOR), gradx.chain(gradx.add_noise(0.1, 0.5, seed=0), gradx.adafactor(0.1, 2), NESTED)
    wanted = state_shardings(tx, params, rule=rule)
    made = [init(tx, params, rule=rule), init(tx, params, mesh, rule)]
    if kind == EXPLICIT:  # else a trace does not see how parameters are split
        made.append(jax.jit(lambda params: init(tx, params, rule=rule))(params))
    for state in made:
        same = jax.tree.map(lambda x, sharding: x.sharding.is_equivalent_to(sharding, x.ndim), state, wanted)
        assert jax.tree.all(same)


def test_automatic_jit_of_init_alone_leaves_moments_on_one_device():
    """What `init` is there for."""
    mesh = mesh_of(AUTO)
    params = {"w": put(mesh, jnp.ones(8), P("data"))}
    assert len(jax.jit(gradx.adam(0.1).init)(params)[0].mu["w"].sharding.device_set) == 1
    assert len(init(gradx.adam(0.1), params)[0].mu["w"].sharding.device_set) == 8


OF_MATRICES = {
    "shampoo": gradx.shampoo(0.1, max_size=2),
    "soap": gradx.soap(0.1),
    "kl_shampoo": gradx.scale_by_kl_shampoo(max_size=4),
    "kron": gradx.kron(0.1, max_size=4),
    "galore": gradx.galore(0.1, rank=2),
    "apollo": gradx.apollo(0.1, rank=2),
    "dion": gradx.scale_by_dion(rank=2),
}


@pytest.mark.parametrize("name", OF_MATRICES)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_unjitted_init_of_split_parameters_puts_the_state_there(kind, name):
    """What is made of whole matrices lies whole, on automatic axes too, and no mesh need be set."""
    params, tx = arrays(mesh_2d(kind)), OF_MATRICES[name]
    state, wanted = tx.init(params), state_shardings(tx, params)
    for path, x, sharding in zip(tree.paths(state), *map(jax.tree.leaves, (state, wanted)), strict=True):
        assert not x.committed or x.sharding.is_equivalent_to(sharding, x.ndim), path


def test_arrays_of_numpy_are_whole():
    x = np.ones((3, 3))
    assert gather(x) is x


def test_flax_boxes():
    from flax import nnx

    mesh = mesh_of(AUTO)
    with jax.set_mesh(mesh):
        model = nnx.Linear(8, 16, rngs=nnx.Rngs(0))
        params = nnx.state(model, nnx.Param)
        found = specs_of(state_shardings(gradx.adam(0.1), params, rule="zero1"))
        assert jax.tree.leaves(found[0].mu) == [P("data"), P(None, "data")]
        optimizer = nnx.Optimizer(model, zero1(gradx.adam(0.1)), wrt=nnx.Param)
        grads = jax.tree.map(jnp.ones_like, params)
        optimizer.update(model, grads)
        moments = [x for x in jax.tree.leaves(nnx.state(optimizer)) if x.shape == (8, 16)]
        assert {x.addressable_shards[0].data.shape for x in moments} == {(8, 2)}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_parameters_that_are_split_too_need_no_wrapper(kind):
    """FSDP: the state follows, the compiler places the collectives, and no device ever holds the whole."""
    mesh, tx = mesh_of(kind), gradx.chain(gradx.clip_by_global_norm(0.2), gradx.adam(0.05))
    whole = {"w": jnp.linspace(-1.0, 1.0, 16 * 8).reshape(16, 8), "v": jnp.ones(8)}
    places = {"w": NamedSharding(mesh, P("data")), "v": NamedSharding(mesh, P("data"))}
    batch = jnp.linspace(0.0, 1.0, 32 * 16).reshape(32, 16)

    def loss(params, x):
        if kind == EXPLICIT:  # gathered where it is used; the way back scatters its gradient
            params = {name: jax.sharding.reshard(p, P(*(None,) * p.ndim)) for name, p in params.items()}
        return jnp.mean((jnp.tanh(x @ params["w"]) @ params["v"]) ** 2)

    def step(params, state, x):
        updates, state = tx.update(jax.grad(loss)(params, x), state, params)
        return gradx.apply_updates(params, updates), state

    wanted, state_alone = whole, tx.init(whole)
    for _ in range(3):
        with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), ())):
            wanted, state_alone = jax.jit(plain_step(tx))(wanted, state_alone, batch)
    with jax.set_mesh(mesh):
        params, x = jax.device_put(whole, places), put(mesh, batch, P("data"))
        state = init(tx, params)
        layout = jax.tree.map(lambda x: x.sharding, (params, state))
        run = jax.jit(step, out_shardings=layout if kind == AUTO else None)
        for _ in range(3):
            params, state = run(params, state, x)
    devices.assert_close(params, wanted)
    assert set(bytes_each(state[1][0].mu).values()) == {4 * (16 * 8 + 8) // 8}
    assert jax.tree.map(lambda x: x.sharding.spec, params) == {"w": P("data", None), "v": P("data")} or kind == AUTO


def plain_step(tx):
    def loss(params, x):
        return jnp.mean((jnp.tanh(x @ params["w"]) @ params["v"]) ** 2)

    def step(params, state, x):
        updates, state = tx.update(jax.grad(loss)(params, x), state, params)
        return gradx.apply_updates(params, updates), state

    return step


def test_axes_of_both_kinds():
    mesh = jax.make_mesh((2, 4), ("data", "model"), axis_types=(AxisType.Explicit, AxisType.Auto))
    params = {"w": put(mesh, jnp.ones((8, 16)), P(None, "model"))}
    tx = zero1(gradx.adam(0.1), specs=P(None, "model"))
    state = jax.jit(tx.init)(params)
    assert state[0].mu["w"].addressable_shards[0].data.shape == (4, 4)
    updates, state = jax.jit(tx.update)(params, state, params)
    assert updates["w"].addressable_shards[0].data.shape == (8, 4)
    assert state[0].mu["w"].addressable_shards[0].data.shape == (4, 4)


def test_an_init_that_looks_at_single_parameters():
    """It does not take marked ones: names tell whose its leaves are."""

    def start(params):
        return {"sums": {"kernel": params["kernel"].sum(1)}, "kernel": 2 * params["kernel"], "bias": jnp.zeros(8)}

    tx = gradx.GradientTransformation(start, lambda updates, state, params=None: (updates, state))
    found = specs_of(state_shardings(tx, shapes(mesh_2d())))
    assert found == {"sums": {"kernel": P("data")}, "kernel": P("data", "model"), "bias": P("model")}


def test_the_longest_name_tells_whose_a_leaf_is():
    def start(params):
        return {"m": {"a": {"w": jnp.zeros(params["a"]["w"].shape)}, "w": jnp.zeros(params["w"].shape)}}

    tx = gradx.GradientTransformation(start, lambda updates, state, params=None: (updates, state))
    mesh = mesh_2d()
    params = {
        "w": jax.ShapeDtypeStruct((8,), jnp.float32, sharding=NamedSharding(mesh, P("model"))),
        "a": {"w": jax.ShapeDtypeStruct((8,), jnp.float32, sharding=NamedSharding(mesh, P("data")))},
    }
    assert specs_of(state_shardings(tx, params)) == {"m": {"a": {"w": P("data")}, "w": P("model")}}
