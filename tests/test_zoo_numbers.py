"""Every row of the zoo at the corners of its numbers: NaN, 0, the largest count, debug flags, shards."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from tests.zoo import LOSS, ZOO, Row, first_of_a_kind

OPTIONS = [
    Row(gradx.scale_by_stddev(initial_scale=0.1, bias_correction=True)),
    Row(gradx.scale_by_rms(eps_in_sqrt=False, bias_correction=True)),
    Row(gradx.ema(0.9, debias=False)),
    Row(gradx.momentum(0.9)),
]
"""Branches of the rules that no row of the zoo takes."""
ROWS = [row for row in ZOO + OPTIONS if "obj_fn" not in row.extras]
every_row = pytest.mark.parametrize("row", ROWS, ids=str)

PARAMS = {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array([0.3, -0.7])}
GRADS = {"kernel": jnp.array([0.9, -0.2]), "bias": jnp.array([0.63, -0.45])}
ZEROS = jax.tree.map(jnp.zeros_like, PARAMS)
LARGEST = 2**31 - 1


def holds(row: Row, names: dict[str, str]) -> bool:
    """Whether one of the named functions stands in the row."""
    return any(re.search(rf"\b{name}\b", str(row)) for name in names)


def updates_of(tx, grads, steps=2, **extras):
    """Return the update of the last step."""
    state, updates = tx.init(PARAMS), None
    for _ in range(steps):
        updates, state = tx.update(grads, state, PARAMS, **(LOSS | extras))
    return updates


# NaN and infinity

HIDE_NAN = {
    "zero_nans": "is there to replace it",
    "set_to_zero": "is zero whatever comes",
    "skip_not_finite": "leaves the mini-step out",
    "apply_if_finite": "leaves the step out",
    "skip_outliers": "leaves the step out",
    "dynamic_loss_scale": "leaves the step out",
}
HIDE_INFINITY = {
    "scale_by_sign": "keeps its sign, like every number's",
    "sign_sgd": "as scale_by_sign",
    "signum": "as scale_by_sign",
    "rprop": "as scale_by_sign",
    "clip": "brings an infinity to the bound like every other large number",
    "lion": "takes the sign, that of an infinity too",
    "scale_by_lion": "takes the sign, that of an infinity too",
    "set_to_zero": "is zero whatever comes",
    "skip_not_finite": "leaves the mini-step out",
    "apply_if_finite": "leaves the step out",
    "skip_outliers": "leaves the step out",
    "dynamic_loss_scale": "leaves the step out",
}
HIDE_PLUS_INFINITY = HIDE_INFINITY | {"keep_params_nonnegative": "goes to 0, behind a step that would go below"}
SPREAD_INFINITY = {
    "momo": "an infinity is taken from itself in the model of the loss",
    "momo_adam": "an infinity is taken from itself in the model of the loss",
    "mechanize": "an infinity times a way of 0 is NaN, and so is the one scale",
    "prodigy": "an infinity times a way of 0 is NaN, and so is the one estimate for all leaves",
    "dadapt_adamw": "an infinity times a sum of 0 is NaN, and so is the one estimate for all leaves",
}
SPREAD_NAN = {
    "zclip": "has one norm for all leaves, and nothing is known of it",
    "clip_by_global_norm": "has one norm for all leaves, and nothing is known of it",
    "dpsgd": "as clip_by_global_norm",
    "normalize_by_update_norm": "as clip_by_global_norm",
    "dog": "has one step for all leaves",
    "scale_by_dog": "has one step for all leaves",
    "dowg": "has one step for all leaves",
    "scale_by_dowg": "has one step for all leaves",
    "normalize": "has one norm for all leaves",
    "polyak_sgd": "has one step for all leaves",
    "scale_by_polyak": "has one step for all leaves",
} | SPREAD_INFINITY
SPREAD_NAN |= dict.fromkeys(("lbfgs", "scale_by_lbfgs"), "multiplies all leaves by one matrix")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@every_row
def test_what_is_no_number_does_not_become_one(row, bad):
    is_nan = np.isnan(bad)
    for leaf, other in (("kernel", "bias"), ("bias", "kernel")):
        updates = updates_of(row.tx, GRADS | {leaf: GRADS[leaf].at[0].set(bad)}, **row.extras)
        hidden = holds(row, HIDE_NAN if is_nan else HIDE_INFINITY if bad < 0 else HIDE_PLUS_INFINITY)
        assert np.isfinite(updates[leaf][0]) == hidden
        assert hidden or not is_nan or np.isnan(updates[leaf][0])
        assert np.all(np.isfinite(updates[other])) != holds(row, SPREAD_NAN if is_nan else SPREAD_INFINITY)


# Hypergradients

STEP = 1e-6
PLACES = 48
"""Points at which the loss is taken, the same number for every row, so that each operation is compiled once."""
NOT_SMOOTH_AT_0 = {
    "eta": "a root, whose derivative at 0 is infinite and taken as 0, as add_noise says",
}
ABOVE_0 = {
    "scale_by_adadelta": ("eps",),
    "adadelta": ("eps",),
    "lbfgs": ("learning_rate",),  # it does not move then, and forgets its pairs
    "adaptive_grad_clip": ("eps",),
    "lion": ("b2",),
    "scale_by_lion": ("b2",),
    "sophia": ("eps",),
    "rprop": ("learning_rate", "eta_plus", "min_step_size", "max_step_size"),
    "mechanize": ("eps", "s_init"),
    "momo": ("learning_rate",),  # at 0 the bound that it adapts has a kink
    "momo_adam": ("learning_rate",),
    "cocob": ("eps",),
    "scale_by_cocob": ("eps",),
    # with eps = 0 the first step is as long as the distance at the start, and the largest of both has a kink
    "scale_by_distance_over_gradients": ("reps_rel", "eps"),
    "dog": ("init_step", "eps"),
    "scale_by_dog": ("init_step", "eps"),
    "dowg": ("init_estim_sq_dist", "eps"),
    "scale_by_dowg": ("init_estim_sq_dist", "eps"),
    "prodigy": ("betas", "estim_lr0"),  # and the root of b2
    "dadapt_adamw": ("betas", "estim_lr0"),
    "schedule_free": ("b1", "learning_rate"),
    "schedule_free_sgd": ("b1", "learning_rate", "weight_lr_power"),  # 0 at the start of a warmup, and 0^0 is 1
    "schedule_free_adamw": ("b1", "learning_rate"),
    "kron": ("max_rms",),
    "scale_by_kron": ("max_rms",),
}
"""Arguments whose range does not hold 0, and learning rates that are weights too: all 0, they have no mean."""


def loss_of(leaves, treedef):
    tx = treedef.unflatten(leaves)
    params, grads = gradx.tree.cast((PARAMS, GRADS), jnp.float64)
    state, loss = tx.init(params), 0.0
    for size in (1.0, -0.7, 1.9, 0.4):
        updates, state = tx.update(
            {"kernel": size * grads["kernel"], "bias": grads["bias"] / size}, state, params, **LOSS
        )
        params = gradx.apply_updates(params, updates)
        loss += sum(jnp.sum(jnp.cos(x)) for x in jax.tree.leaves((params, updates)))
    return loss


def leaves_of(tx):
    """Return names and values of the leaves; an eps of ordinary size, for differences span a tiny one."""
    named = [(jax.tree_util.keystr(path), x) for path, x in jax.tree_util.tree_leaves_with_path(tx)]
    return [(name, 0.1 if name.endswith("eps") else float(x)) for name, x in named]


def places_of(tx):
    """Return (leaf, offset, weights) of each derivative: central differences, and one-sided ones at 0, an end."""
    for i, (name, value) in enumerate(leaves_of(tx)):
        argument = re.findall(r"[a-z_]\w*", name)[-1]
        yield i, value, (0.0, STEP, -STEP), (0.0, 0.5, -0.5)
        if value and argument not in NOT_SMOOTH_AT_0 and argument not in ABOVE_0.get(tx.name, ()):
            yield i, 0.0, (0.0, STEP, 2 * STEP), (-1.5, 2.0, -0.5)


BREAKS = {
    "cautious": "a sign decides for each entry, and at 0 another than beside it",
    "adagc": "a norm is cut to a bound, and begins to be at 0",
    "graft": "a norm divides, which is 0 there",
    "stable_adamw": "a norm is cut to a bound, and begins to be at 0",
    "sophia": "the two bounds of its clip meet at 0",
}
"""What breaks at a hyperparameter of 0, where a difference to one side is not the slope."""
SLOPING = [
    r
    for r in ROWS
    if jax.tree.leaves(r.tx) and not holds(r, BREAKS) and "grad" not in r.skip and "grad_fn" not in r.extras
]


@pytest.mark.parametrize("row", first_of_a_kind(SLOPING))
def test_derivatives_by_every_float_are_finite_differences(row):
    with jax.enable_x64(True):
        tx = row.tx.replace(hyperparam_dtype="float64") if row.tx.name == "inject_hyperparams" else row.tx
    treedef, base = jax.tree.structure(tx), np.array([value for _, value in leaves_of(tx)])
    places, points = list(places_of(tx)), []
    for i, at, offsets, _ in places:
        points += [np.where(np.arange(len(base)) == i, at + offset, base) for offset in offsets]
    points += [base] * (PLACES - len(points))
    with jax.enable_x64(True):
        columns = [jnp.asarray(column) for column in np.transpose(points)]
        values, slopes = jax.vmap(jax.value_and_grad(lambda leaves: loss_of(leaves, treedef)))(columns)
    for k, (i, at, _, weights) in enumerate(places):
        difference = np.dot(weights, values[3 * k : 3 * k + 3]) / STEP
        np.testing.assert_allclose(slopes[i][3 * k], difference, 1e-5, 1e-7, err_msg=f"{leaves_of(tx)[i]} at {at}")


# Counts

COUNTS = ("count", "gradient_step", "hyperparams_states", ".step", ".t")
"""Fields that count updates. `mini_step` stays below k, and `num_not_finite` counts the entries of one gradient."""
COUNTS_OF_SOME = (
    "steps_since_sync",
    "averaged",
    "good_steps",
    "notfinite_count",
    "total_notfinite",
    "passed",
    "skipped_in_row",
    "total_skipped",
)
"""Fields that count some updates, and may be set back."""


def is_count(name, x):
    some = any(part in name for part in COUNTS_OF_SOME)
    return any(part in name for part in COUNTS) and not some and x.dtype == jnp.int32


def counts_of(state):
    named = jax.tree_util.tree_leaves_with_path(state)
    return [is_count(jax.tree_util.keystr(path), x) for path, x in named]


IN_TURNS = {
    "apply_every": "its count is set back to 0 by every k-th update",
    "conditionally_transform": "its condition goes by the step",
    "conditionally_mask": "its condition goes by the step",
    "reset_state": "starts the inner state anew",
    "overwrite_every": "goes by the step",
    "reduce_on_plateau": "its counts start anew",
}
COUNTING = [r for r in ROWS if any(counts_of(jax.eval_shape(r.tx.init, PARAMS))) and not holds(r, IN_TURNS)]


def test_every_integer_of_a_state_is_known():
    known = (
        *COUNTS,
        *COUNTS_OF_SOME,
        "mini_step",
        "num_not_finite",
        "num_linesearch_steps",
        "rng_key",
        ".key",
        "steps_since_sync",
    )
    for row in ROWS:
        for path, x in jax.tree_util.tree_leaves_with_path(jax.eval_shape(row.tx.init, PARAMS)):
            name = jax.tree_util.keystr(path)
            assert not jnp.issubdtype(x.dtype, jnp.integer) or any(part in name for part in known), f"{row}: {name}"


def run_from(count, row, steps=4):  # two updates of MultiSteps
    """Return the updates, and the counts at the end, of steps from a state whose every count is `count`."""
    start = row.tx.init(PARAMS)
    leaves, treedef = jax.tree.flatten(start)
    late = [jnp.int32(count) if counted else x for counted, x in zip(counts_of(start), leaves, strict=True)]
    state, history = treedef.unflatten(late), []
    for _ in range(steps):
        updates, state = row.tx.update(GRADS, state, PARAMS, **(LOSS | row.extras))
        history.append(updates)
    counts = [int(x) for counted, x in zip(counts_of(state), jax.tree.leaves(state), strict=True) if counted]
    return history, counts


@pytest.mark.parametrize("row", COUNTING, ids=str)
def test_counts_are_held_at_the_largest(row):
    history, counts = run_from(LARGEST - 1, row)
    assert counts == [LARGEST] * len(counts)
    before, _ = run_from(LARGEST - 1000, row)  # everything that changes with the count has long come to rest
    for got, expected in zip(jax.tree.leaves(history), jax.tree.leaves(before), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)


# Flags of jax


@pytest.mark.parametrize("row", [row for row in ROWS if not row.extras], ids=str)  # a search begins with infinity
def test_debug_flags_find_nothing_in_finite_gradients(row):
    # Operation by operation: a compiled program is searched in its results alone.
    with jax.debug_nans(True), jax.debug_infs(True), jax.disable_jit():
        for grads in (GRADS, ZEROS):
            updates_of(row.tx, grads)


@every_row
def test_no_tracer_leaks(row, settled_heap):
    with jax.checking_leaks():
        fresh = jax.tree.map(lambda x: x, row.tx)  # not built yet: its factory runs in the trace
        jax.eval_shape(lambda grads: updates_of(fresh, grads, 1, **row.extras), GRADS)
        jax.eval_shape(lambda tx: updates_of(tx, GRADS, 1, **row.extras), row.tx)


# Shards

TWO_PARAMS = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), PARAMS)
TWO_GRADS = jax.tree.map(lambda x: jnp.stack([x, 3 * x]), GRADS)
SPREAD, SAME = jax.sharding.PartitionSpec("shards"), jax.sharding.PartitionSpec()


def on_shards(f, specs, out):
    mesh = jax.make_mesh((2,), ("shards",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    return jax.jit(jax.shard_map(f, mesh=mesh, in_specs=specs, out_specs=out))


def mapped(tx, params, grads, **extras):
    """Return the parameters after an update of each of a batch."""
    return jax.vmap(lambda p, g: gradx.apply_updates(p, tx.update(g, tx.init(p), p, **(LOSS | extras))[0]))(
        params, grads
    )


def scanned(tx, params, grads, **extras):
    """Return the parameters after two updates in a scan."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(grads, state, params, **(LOSS | extras))
        return (gradx.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), length=2)[0][0]


def averaged(tx, params, grads, **extras):
    """As `scanned`, the parameters the same on every shard and the gradients averaged over them."""
    return scanned(tx, params, jax.lax.pmean(grads, "shards"), **extras)


@every_row
def test_runs_in_shards(row):
    if str(row) == "muon(learning_rate=0.05)":
        pytest.skip("it asks for roles, and these kernels and biases do not fit each other")
    # What varies over the mesh is checked as it is traced: nothing need be compiled.
    one, tx, extras = jax.tree.map(lambda x: x[:1], TWO_PARAMS), row.tx, row.extras
    jax.eval_shape(on_shards(lambda *x: mapped(tx, *x, **extras), (SPREAD, SPREAD), SPREAD), TWO_PARAMS, TWO_GRADS)
    jax.eval_shape(on_shards(lambda *x: averaged(tx, *x, **extras), (SAME, SPREAD), SAME), one, TWO_GRADS)
    jax.eval_shape(on_shards(lambda *x: scanned(tx, *x, **extras), (SPREAD, SPREAD), SPREAD), TWO_PARAMS, TWO_GRADS)


@pytest.mark.parametrize("tx", [gradx.adamw(0.1), gradx.chain(gradx.clip_by_global_norm(0.5), gradx.sgd(0.1))], ids=str)
def test_a_shard_computes_what_it_would_alone(tx):
    got = on_shards(lambda *x: scanned(tx, *x), (SPREAD, SPREAD), SPREAD)(TWO_PARAMS, TWO_GRADS)
    for i in range(2):
        own = [jax.tree.map(lambda x, i=i: x[i : i + 1], tree) for tree in (TWO_PARAMS, TWO_GRADS)]
        alone = scanned(tx, *own)
        for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(x[i : i + 1], y, rtol=1e-6)
