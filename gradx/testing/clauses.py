"""The clauses of the contract: what every transformation keeps to, each a function of a `Subject`."""

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from gradx import checks, tree
from gradx.combine import chain
from gradx.core import GradientTransformation, apply_updates, identity
from gradx.testing.subject import Subject, assert_close, assert_finite, is_plain, types_of
from gradx.typing import Params, State, Updates


def unpacks(subject: Subject) -> None:
    """`init, update = tx` gives the same two functions."""
    init, update = subject.tx
    state = init(subject.params)
    expected, _ = subject.update(subject.grads(), subject.tx.init(subject.params), subject.params)
    updates, _ = update(subject.grads(), state, subject.params, **subject.extras)
    assert_close(updates, expected)


def is_a_value(subject: Subject) -> None:
    """It prints, compares, hashes, pickles, copies, and survives flattening; a foreign pair need not."""
    tx = subject.tx
    if not isinstance(tx, GradientTransformation):
        return
    leaves, treedef = jax.tree.flatten(tx)
    copies = [copy.copy(tx), copy.deepcopy(tx), treedef.unflatten(leaves), tx.replace()]
    if tx.name != "GradientTransformation":  # two bare functions pickle only if they have names
        copies.append(pickle.loads(pickle.dumps(tx)))
    for other in copies:
        assert other == tx, f"{other!r} != {tx!r}"
        assert hash(other) == hash(tx)
    assert repr(tx).startswith(f"{tx.name}(")
    assert jax.tree.structure(jax.tree.map(lambda _: 0, tx)) == treedef, "another leaf changes the structure"


def keeps_structure(subject: Subject) -> None:
    """Updates are like the gradients, the state like after init: structure, shapes, dtypes, weak types."""
    params, state = subject.params, subject.tx.init(subject.params)
    before = types_of(state)
    for step in range(2):
        grads = subject.grads(step)
        updates, state = subject.update(grads, state, params)
        assert types_of(updates, weak=False) == types_of(grads, weak=False), "updates differ from gradients"
        assert types_of(state) == before, f"the state changed: {types_of(state)} after {before}"


def jit_is_eager(subject: Subject) -> None:
    """Compiled as one program, or operation by operation, the result is the same."""
    expected, _ = subject.run(2)
    with jax.disable_jit():
        updates, _ = subject.run(2)
    assert_close(updates, expected)
    compiled = jax.jit(lambda *grads: subject.follow(grads)[0])(subject.grads(0), subject.grads(1))
    assert_close(compiled, expected)


def traces_once(subject: Subject) -> None:
    """A jitted step is traced once, the first step included."""
    traces = 0

    @jax.jit
    def step(params: Params, state: State, grads: Updates) -> tuple[Params, State]:
        nonlocal traces
        traces += 1
        updates, state = subject.update(grads, state, params)
        return apply_updates(params, updates), state

    params, state = subject.params, subject.tx.init(subject.params)
    for i in range(3):
        params, state = step(params, state, subject.grads(i))
    assert traces == 1, f"{traces} traces in 3 steps"


def scans(subject: Subject) -> None:
    """`lax.scan` over the steps gives what a loop gives."""
    expected, _ = subject.run()
    grads = jax.tree.map(lambda *x: jnp.stack(x), *(subject.grads(i) for i in range(3)))

    def step(carry: tuple, grads: Updates) -> tuple[tuple, Updates]:
        params, state = carry
        updates, state = subject.update(grads, state, params)
        return (apply_updates(params, updates), state), updates

    _, history = jax.lax.scan(step, (subject.params, subject.tx.init(subject.params)), grads)
    assert_close([jax.tree.map(lambda x, i=i: x[i], history) for i in range(3)], expected)


def vmaps(subject: Subject) -> None:
    """`vmap` over a batch of parameters and gradients gives what each alone gives."""
    others = jax.tree.map(lambda x: -x, subject.params)
    batch = jax.tree.map(lambda a, b: jnp.stack([a, b]), subject.params, others)
    grads = jax.tree.map(lambda a, b: jnp.stack([a, b]), subject.grads(0), subject.grads(1))
    states = jax.vmap(subject.tx.init)(batch)
    updates, _ = jax.vmap(subject.update)(grads, states, batch)
    for i, params in enumerate([subject.params, others]):
        alone, _ = subject.update(subject.grads(i), subject.tx.init(params), params)
        assert_close(jax.tree.map(lambda x, i=i: x[i], updates), alone)


def differentiates(subject: Subject) -> None:
    """Derivatives through two steps are finite: by gradients, parameters and hyperparameters, also at 0."""

    def loss(tx: Any, grads: Updates, params: Params) -> jax.Array:
        state, total = tx.init(params), jnp.float32(0)
        for _ in range(2):
            updates, state = tx.update(grads, state, params, **subject.extras)
            params = apply_updates(params, updates)
            total += tree.norm(updates, squared=True) + tree.norm(params, squared=True)
        return total

    tx_leaves, treedef = jax.tree.flatten(subject.tx if isinstance(subject.tx, GradientTransformation) else ())

    def of_leaves(leaves: list, grads: Updates, params: Params) -> jax.Array:
        return loss(treedef.unflatten(leaves) if leaves else subject.tx, grads, params)

    derive = jax.jit(jax.grad(of_leaves, argnums=(0, 1, 2)))
    for grads in (subject.grads(), jax.tree.map(jnp.zeros_like, subject.params)):
        by_leaves, *by_trees = derive(tx_leaves, grads, subject.params)
        assert_finite(by_leaves, f"the derivative by the leaves {tx_leaves} of the transformation")
        assert_finite(by_trees, "the derivative by gradients and parameters")
    if tx_leaves:
        hypergradient = jax.eval_shape(jax.grad(loss), subject.tx, subject.grads(), subject.params)
        assert jax.tree.structure(hypergradient) == treedef, "hypergradients are not shaped like the transformation"


def has_shapes(subject: Subject) -> None:
    """`eval_shape` of init and update tells what they return."""
    state = jax.eval_shape(subject.tx.init, subject.params)
    assert types_of(state) == types_of(subject.tx.init(subject.params))
    updates, after = jax.eval_shape(subject.update, subject.grads(), state, subject.params)
    assert types_of(updates, weak=False) == types_of(subject.grads(), weak=False)
    assert types_of(after) == types_of(state)


def donates(subject: Subject) -> None:
    """Parameters and state can be donated on the first step: no buffer serves twice."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Params, state: State, grads: Updates) -> tuple[Params, State]:
        updates, state = subject.update(grads, state, params)
        return apply_updates(params, updates), state

    params = tree.copy(subject.params)
    state = subject.tx.init(params)
    buffers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((params, state)) if x.size and is_plain(x)]
    assert len(buffers) == len(set(buffers)), "state and parameters share a buffer"
    for i in range(2):
        params, state = step(params, state, subject.grads(i))
    assert_finite(params, "the parameters")


def ignores_extras(subject: Subject) -> None:
    """Extras that it does not name change nothing."""
    state = subject.tx.init(subject.params)
    expected, _ = subject.update(subject.grads(), state, subject.params)
    updates, _ = subject.tx.update(subject.grads(), state, subject.params, **subject.extras, unheard_of=1.0)
    assert_close(updates, expected)


def computes_in_float32(subject: Subject) -> None:
    """bfloat16 and float16 gradients give updates of their dtype, rounded once; no state is narrower for them."""
    _, state32 = subject.run(2)
    for dtype in (jnp.bfloat16, jnp.float16):
        low = subject.cast(dtype)
        keeps_structure(low)
        _, state = low.run(2)
        assert types_of(state) == types_of(state32), f"{np.dtype(dtype)} parameters change the state: {types_of(state)}"
        exact = low.with_params(tree.cast(low.params, jnp.float32))
        grads = low.grads()
        wide = tree.cast(grads, jnp.float32)
        updates, _ = low.update(grads, low.tx.init(low.params), low.params)
        reference, _ = exact.update(wide, exact.tx.init(exact.params), exact.params)
        resolution = float(jnp.finfo(dtype).eps)
        assert_close(tree.cast(updates, jnp.float32), reference, rtol=resolution, atol=1e-6)
        mixed, after = low.update(wide, low.tx.init(low.params), low.params)
        assert types_of(after) == types_of(low.tx.init(low.params)), "float32 gradients change the state's dtype"
        assert types_of(mixed, weak=False) == types_of(wide, weak=False)


def keeps_float64(subject: Subject) -> None:
    """float64 parameters have a float64 state and updates."""
    with jax.enable_x64(True):
        double = subject.cast(jnp.float64)
        state = double.tx.init(double.params)
        updates, after = jax.eval_shape(double.update, double.grads(), state, double.params)
        assert types_of(after) == types_of(state), f"the state changed: {types_of(after)} after {types_of(state)}"
        narrow = {x.dtype for x in jax.tree.leaves(updates)} - {np.dtype(np.float64)}
        assert not narrow, f"updates in {narrow}"


def takes_complex(subject: Subject) -> None:
    """Complex parameters give complex updates, and a real gradient that is made complex the same update as before."""
    expected, _ = subject.run(2)
    rotated = subject.with_params(jax.tree.map(lambda x: x.astype(jnp.complex64), subject.params))
    params, state = rotated.params, subject.tx.init(rotated.params)
    updates = None
    for i in range(2):
        grads = jax.tree.map(lambda x: x.astype(jnp.complex64), subject.grads(i))
        updates, state = rotated.update(grads, state, params)
        params = apply_updates(params, updates)
        assert_close(jax.tree.map(jnp.real, updates), expected[i], rtol=1e-4, atol=1e-5)
    assert all(jnp.iscomplexobj(x) for x in jax.tree.leaves(updates))


def stays_finite(subject: Subject) -> None:
    """Gradients of 0, 1e18 and 1e-30 give finite updates (beyond 1e19 the square of a float32 overflows)."""
    for size in (0.0, 1e18, 1e-30):
        state = subject.tx.init(subject.params)
        for step in range(2):
            grads = jax.tree.map(lambda g, size=size: size * g, subject.grads(step))
            updates, state = subject.update(grads, state, subject.params)
            assert_finite(updates, f"the update for gradients of size {size}")
    low = subject.cast(jnp.float16)
    updates, _ = low.update(jax.tree.map(jnp.zeros_like, low.params), low.tx.init(low.params), low.params)
    assert_finite(updates, "the update for float16 gradients of 0")


def takes_odd_leaves(subject: Subject) -> None:
    """`None`, scalars, arrays of size 0 and trees without leaves pass."""
    odd = {"none": None, "empty": jnp.zeros((0, 3)), "scalar": jnp.float32(2.0), "array": jnp.ones((2, 3))}
    for params in (odd, {}, {"none": None}):
        keeps_structure(subject.with_params(params))


def holds_in_strict_mode(subject: Subject) -> None:
    """Nothing leans on implicit promotion of dtypes or ranks."""
    for like in (subject, subject.cast(jnp.bfloat16)):
        grads = like.grads()
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            jax.eval_shape(lambda grads, like=like: like.follow([grads, grads])[0], grads)  # tracing finds it


def keeps_sharding(subject: Subject) -> None:
    """State and updates lie where parameters and gradients lie, on automatic and explicit meshes; needs two devices."""
    if jax.device_count() < 2:
        return
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        mesh = jax.make_mesh((2,), ("x",), axis_types=(kind,))
        spread = NamedSharding(mesh, PartitionSpec("x"))
        with jax.set_mesh(mesh):
            params = {"kernel": jax.device_put(jnp.ones((4, 6)), spread), "bias": jax.device_put(jnp.ones(4), spread)}
            state, updates = subject.tx.init(params), None
            for _ in range(2):
                updates, state = subject.update(params, state, params)
            for x in jax.tree.leaves((updates, state)):
                if x.shape in ((4, 6), (4,)):
                    assert x.sharding.is_equivalent_to(spread, x.ndim), f"{checks.describe(x)} lies on {x.sharding}"


def nests(subject: Subject) -> None:
    """Inside a chain it does what it does alone, compiled for two shapes one after the other, and after pickling."""
    if not isinstance(subject.tx, GradientTransformation):
        return
    inside = chain(identity(), subject.tx)
    step = jax.jit(lambda grads, state, params: inside.update(grads, state, params, **subject.extras))
    init = jax.jit(inside.init)
    again = inside if subject.tx.name == "GradientTransformation" else pickle.loads(pickle.dumps(inside))
    for params in (subject.params, jax.tree.map(lambda x: jnp.stack([x, -x]), subject.params)):
        other = subject.with_params(params)
        grads = other.grads()
        with jax.disable_jit():  # quicker than to compile once more
            expected, _ = other.update(grads, subject.tx.init(params), params)
            updates, _ = again.update(grads, again.init(params), params, **subject.extras)
        assert_close(updates, expected)
        assert_close(step(grads, init(params), params)[0], expected)


CONTRACT: dict[str, Callable[[Subject], None]] = {
    "unpack": unpacks,
    "value": is_a_value,
    "structure": keeps_structure,
    "jit": jit_is_eager,
    "one_trace": traces_once,
    "scan": scans,
    "vmap": vmaps,
    "grad": differentiates,
    "eval_shape": has_shapes,
    "donation": donates,
    "extras": ignores_extras,
    "low_precision": computes_in_float32,
    "float64": keeps_float64,
    "complex": takes_complex,
    "extremes": stays_finite,
    "odd_leaves": takes_odd_leaves,
    "strict": holds_in_strict_mode,
    "sharding": keeps_sharding,
    "nested": nests,
}
"""The clauses by name."""
