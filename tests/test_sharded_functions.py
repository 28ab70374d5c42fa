"""Of every public function of arrays: it runs on a shard's own data, keeps NaN, and leaves the debug flags quiet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from gradx import linalg, losses, microbatching, perturbations, projections, tree
from tests.functions import FUNCTIONS, MODULES, NOT_OF_ARRAYS, arguments

SHARDS = 4
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}
"""Float32, the same formulas in another program; a few iterations or a factorisation between."""
P = PartitionSpec
MASKS = {("losses.ctc_loss", 1), ("losses.ctc_loss", 3)}
MASKS |= {(f"{name}_with_forward_probs", i) for name, i in MASKS} | {("tree.cast_like", 1)}
"""Arguments of which only zero or not, or the dtype, is read."""
INFINITIES_OF_JAX = {
    "losses.make_fenchel_young_loss",  # logsumexp
    "losses.ntxent",  # maximum under a mask
    "projections.projection_affine_set",  # pinv
    "projections.projection_transport",
}
"""Where JAX's own functions have infinities inside, that operation by operation are seen."""
EVERY = pytest.mark.parametrize("name", FUNCTIONS)


def test_no_public_function_is_left_out():
    rows = {name.split(" ")[0] for name in FUNCTIONS}
    assert rows | NOT_OF_ARRAYS == {f"{name}.{x}" for name, module in MODULES.items() for x in module.__all__}


def is_float(argument):
    return all(jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves(argument))


def sum_of_floats(results):
    floats = [x for x in jax.tree.leaves(results) if jnp.issubdtype(x.dtype, jnp.floating)]
    return sum(jnp.sum(x.astype(jnp.float32)) for x in floats)


def value_and_gradients(name):
    """Return the function's results, with the gradients of their sum by all float arguments where it has any."""
    row = FUNCTIONS[name]
    floats = tuple(i for i, x in enumerate(arguments(row, 0)) if is_float(x))

    def f(*args):
        results = row.f(*args)
        if not row.differentiable:
            return results, None
        return results, jax.grad(lambda *args: sum_of_floats(row.f(*args)), argnums=floats)(*args)

    return f


def first(tree):
    return jax.tree.map(lambda x: x[0], tree)


def as_row(tree):
    """Put a member's axis in front, varying over the mesh as out_specs say, whatever the results depend on."""

    def put(x):
        axes = tuple({"data"} - jax.typeof(x).manual_axis_type.varying)
        return (jax.lax.pcast(x, axes, to="varying") if axes else x)[None]

    return jax.tree.map(put, tree)


def on_shards(local, specs, arrays):
    mesh = jax.make_mesh((SHARDS,), ("data",), axis_types=(AxisType.Auto,))
    return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P("data")))(*arrays)


def assert_same(got, wanted):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(np.float64(x), np.float64(y), **TOLERANCE), got, wanted)


def stack(trees):
    return jax.tree.map(lambda *xs: np.stack(xs), *trees)


@EVERY
def test_values_and_gradients_of_a_shards_own_data(name):
    f, members = value_and_gradients(name), [arguments(FUNCTIONS[name], seed) for seed in range(SHARDS)]
    arrays = [stack(column) for column in zip(*members, strict=True)]
    got = on_shards(lambda *args: as_row(f(*map(first, args))), (P("data"),) * len(arrays), arrays)
    assert_same(got, stack([jax.jit(f)(*member) for member in members]))


@pytest.mark.parametrize("varying", [0, pytest.param(-1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [name for name, row in FUNCTIONS.items() if len(row.draw) > 1])
def test_one_argument_varies_and_the_others_are_the_same_everywhere(name, varying):
    row, varying = FUNCTIONS[name], varying % len(FUNCTIONS[name].draw)
    if name == "microbatching.micro_grad" and varying:
        pytest.skip("JAX adds up the gradients by what all shards share: no shard has its own")
    members = [arguments(row, seed) for seed in range(SHARDS)]
    arrays = list(members[0])
    arrays[varying] = stack([member[varying] for member in members])
    specs = tuple(P("data") if i == varying else P() for i in range(len(arrays)))

    def local(*args):
        return as_row(row.f(*(first(x) if i == varying else x for i, x in enumerate(args))))

    wanted = [row.f(*members[0][:varying], member[varying], *members[0][varying + 1 :]) for member in members]
    assert_same(on_shards(local, specs, arrays), stack(wanted))


@pytest.mark.slow
@EVERY
def test_scan_and_vmap_over_the_rows_of_a_shard(name):
    row, rows = FUNCTIONS[name], 2
    members = [arguments(row, seed) for seed in range(SHARDS * rows)]
    arrays = [stack(column) for column in zip(*members, strict=True)]

    def local(*args):
        scanned = jax.lax.scan(lambda carry, args: (carry, as_row(row.f(*args))), None, args)[1]
        return jax.tree.map(lambda x: x[:, 0], scanned), as_rows(jax.vmap(row.f)(*args))

    def as_rows(tree):
        return first(as_row(tree))

    wanted = stack([row.f(*member) for member in members])
    assert_same(on_shards(local, (P("data"),) * len(arrays), arrays), (wanted, wanted))


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("name", [name for name, row in FUNCTIONS.items() if row.keeps_nan])
def test_nan_in_is_nan_out(name, place):
    row = FUNCTIONS[name]
    f = jax.jit(row.f)
    for i, argument in enumerate(args := arguments(row, 0)):
        if (name, i) in MASKS or not is_float(argument):
            continue
        leaves, treedef = jax.tree.flatten(argument)
        leaves[place] = np.array(leaves[place])
        leaves[place].flat[place] = np.nan
        results = jax.tree.leaves(f(*args[:i], treedef.unflatten(leaves), *args[i + 1 :]))
        assert any(np.isnan(np.float64(x)).any() for x in results), i


@pytest.mark.parametrize(
    "name", [name for name, row in FUNCTIONS.items() if name.startswith(("losses", "projections"))]
)
def test_nan_everywhere_is_nan_everywhere(name):
    x, *others = arguments(FUNCTIONS[name], 0)
    results = FUNCTIONS[name].f(jax.tree.map(lambda x: np.full_like(x, np.nan), x), *others)
    assert np.isnan(np.float64(jax.tree.leaves(results)[0])).all()


@pytest.mark.parametrize(
    "loss",
    [
        losses.kl_divergence,
        losses.generalized_kl_divergence,
        losses.safe_softmax_cross_entropy,
        lambda x, y: losses.kl_divergence_with_log_targets(x, np.log(y, where=y > 0, out=np.full_like(y, -np.inf))),
        lambda x, y: losses.ranking_softmax_loss(x, 0 * y),
        lambda x, y: losses.multiclass_sparsemax_loss(x, np.array([1])),
        lambda x, y: losses.sparsemax_loss(y, x)[0, 0],
    ],
)
def test_nan_at_what_the_target_gives_no_weight(loss):
    x, y = np.array([[np.nan, 0.5, 0.25]], np.float32), np.array([[0.0, 1.0, 0.0]], np.float32)
    assert np.isnan(loss(x, y)).all()


@EVERY
def test_debug_flags_find_nothing_in_ordinary_data(name, settled_heap):
    f = value_and_gradients(name)
    args = [jax.tree.map(jnp.asarray, x) for x in arguments(FUNCTIONS[name], 0)]
    with jax.debug_nans(True), jax.debug_infs(True):
        f(*args)
        jax.jit(f)(*args)
    with jax.checking_leaks():
        jax.eval_shape(jax.jit(f), *args)


@pytest.mark.parametrize("name", [x for x in FUNCTIONS if x.startswith(("losses", "projections", "linalg", "tree"))])
def test_debug_nans_finds_nothing_operation_by_operation(name):
    """As JAX looks for the place once a compiled step has given a NaN: what it finds must be the user's."""
    args = [jax.tree.map(jnp.asarray, x) for x in arguments(FUNCTIONS[name], 0)]
    with jax.disable_jit(), jax.debug_nans(True), jax.debug_infs(name not in INFINITIES_OF_JAX):
        FUNCTIONS[name].f(*args)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint32"])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.startswith("losses")])
def test_labels_of_any_width_mean_the_same(name, dtype):
    args = arguments(FUNCTIONS[name], 0)
    if not any(jnp.issubdtype(x.dtype, jnp.integer) for x in args):
        pytest.skip("no integers")
    narrow = [x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.integer) else x for x in args]
    assert_same(FUNCTIONS[name].f(*narrow), FUNCTIONS[name].f(*args))


def test_sums_of_narrow_integers_do_not_wrap_round():
    many = {"a": np.full(300, 100, np.int8), "b": np.array([2**30] * 3, np.int32)}
    wanted = 300 * 100 + 3 * 2**30
    np.testing.assert_allclose(tree.sum(many), wanted, rtol=1e-6)
    np.testing.assert_allclose(tree.vdot(many, many), 300 * 1e4 + 3 * 2.0**60, rtol=1e-6)
    for kind, dtype in (("int8", jnp.int32), ("uint8", jnp.uint32), ("bool", jnp.int32)):
        counted = microbatching.microbatch(lambda x: x.sum(dtype=x.dtype), 0, np.uint8(100), in_axes=np.int64(0))
        total = counted(np.ones(500, kind) if kind != "bool" else np.ones(500, bool))
        assert total.dtype == dtype
        assert total == (5 if kind == "bool" else 500)


def test_bounds_beyond_an_integers_range_bound_nothing():
    x = jnp.array([20, 100], jnp.int8)
    np.testing.assert_array_equal(tree.clip(x, -1000, 1000), x)
    np.testing.assert_array_equal(tree.clip(x.astype("uint8"), -1, 50), [20, 50])


@pytest.mark.parametrize(("scalar", "y"), [(1j, 1.0), (1.0, 1j)])
def test_real_leaves_take_nothing_complex(scalar, y):
    real, y = {"w": jnp.ones(2)}, {"w": y * jnp.ones(2)}
    with pytest.raises(TypeError, match=r"tree.add_scale: float32\[2\] at 'w' is real"):
        tree.add_scale(real, scalar, y)
    if scalar == 1j:
        with pytest.raises(TypeError, match=r"tree\.scale"):
            tree.scale(scalar, real)
    assert tree.scale(1j, {"w": jnp.ones(1, complex)})["w"] == 1j


@pytest.mark.parametrize("classes", [pytest.param(256, marks=pytest.mark.slow), 300])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_narrow_labels_among_more_classes_than_they_can_count(dtype, classes):
    """Bytes are the labels of byte-level language models: 256 is no uint8."""
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(4, classes)).astype(np.float32), np.array([0, 1, 126, 127])
    labels = labels + 128 * (dtype == "uint8")
    matrix = rng.normal(size=(classes, classes)).astype(np.float32)
    for f in (
        losses.softmax_cross_entropy_with_integer_labels,
        losses.multiclass_hinge_loss,
        losses.multiclass_perceptron_loss,
        losses.multiclass_sparsemax_loss,
        lambda x, y: losses.vocabulary_cross_entropy(x, matrix, y),
        lambda x, y: losses.ctc_loss(x[:, None], np.zeros((4, 1)), y[:, None], np.zeros((4, 1))),
    ):
        assert_same(
            jax.value_and_grad(lambda x, y, f=f: f(x, y)[1:].sum())(scores, labels.astype(dtype)),
            jax.value_and_grad(lambda x, y, f=f: f(x, y)[1:].sum())(scores, labels),
        )


@pytest.mark.parametrize("integer", [np.uint8, np.int64])
def test_numpy_integers_are_integers(integer):
    rng, two, padding = np.random.default_rng(0), integer(2), np.zeros((2, 3))
    x, y = rng.normal(size=(2, 3, 4)).astype(np.float32), np.array([[0, 1, 2], [3, 2, 1]], np.uint8)
    for f in (
        lambda i: losses.dice_loss(x, x, axis=i - integer(1)),
        lambda i: losses.softmax_cross_entropy(x, x, axis=i),
        lambda i: losses.ctc_loss(x, padding, y, padding, blank_id=i),
        lambda i: losses.vocabulary_cross_entropy(x, x[0], y % 3, chunk_size=i, ignore_index=i),
        lambda i: linalg.matrix_inverse_pth_root(np.eye(2), i, num_iters=i),
        lambda i: linalg.nnls(x[0], x[0, :, 0], i, i),
        lambda i: projections.projection_transport(x[0], np.ones(3) / 3, np.ones(4) / 4, max_iters=i),
        lambda i: microbatching.reshape_batch_axis(np.ones((1, 600)), i, i - integer(1)),
        lambda i: tree.update_moment(x, x, 0.5, i),
        lambda i: perturbations.make_perturbed_fun(jnp.tanh, i)(jax.random.key(0), x),
    ):
        assert_same(f(two), f(2))
