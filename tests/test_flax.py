"""Inside the homes where people keep an optimizer: nnx, linen, and chains with Optax."""

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from flax.training.train_state import TrainState
from sklearn.datasets import load_breast_cancer

import gradx
from gradx.testing import assert_close, assert_finite
from tests.zoo import ZOO, first_of_a_kind

IN_FLAX = [row for row in ZOO if not row.extras]  # TrainState passes no extras


@functools.cache
def data() -> tuple[np.ndarray, np.ndarray]:
    """Return the breast cancer data: 569 tumours, 30 standardized features, and whether each is benign."""
    inputs, labels = load_breast_cancer(return_X_y=True)
    return ((inputs - inputs.mean(0)) / inputs.std(0)).astype(np.float32), labels


def cross_entropy(logits: jax.Array) -> jax.Array:
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, data()[1]).mean()


class NnxMlp(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.l1, self.l2 = nnx.Linear(30, 16, rngs=rngs), nnx.Linear(16, 2, rngs=rngs)

    def __call__(self, x):
        return self.l2(nnx.relu(self.l1(x)))


class LinenMlp(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(2, name="l2")(linen.relu(linen.Dense(16, name="l1")(x)))


def nnx_linear():
    """Return one layer: what all rows of the zoo share to compile fast."""
    return nnx.Linear(30, 2, rngs=nnx.Rngs(0))


def linen_linear():
    return linen.Dense(2)


class BoxedMlp(linen.Module):
    """Parameters in boxes that name their axes, as for sharding."""

    @linen.compact
    def __call__(self, x):
        init = linen.with_partitioning(linen.initializers.lecun_normal(), (None, "model"))
        return linen.Dense(2, name="l2")(linen.relu(linen.Dense(16, kernel_init=init, name="l1")(x)))


def descending(row):
    """Return what trains: the row itself, or the building block before sgd."""
    return row.tx if row.trains else gradx.chain(row.tx, gradx.sgd(0.1))


def types(tree):
    return jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), tree)


# The homes: each trains for some steps and returns the losses, the last parameters, and how often it was traced.


def train_nnx(tx, steps, net=NnxMlp):
    model, traces = net(), []
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        traces.append(1)
        loss, grads = nnx.value_and_grad(lambda model: cross_entropy(model(data()[0])))(model)
        optimizer.update(model, grads)
        return loss

    before = types(nnx.to_pure_dict(nnx.state(optimizer)))
    losses = [float(step(model, optimizer)) for _ in range(steps)]
    assert types(nnx.to_pure_dict(nnx.state(optimizer))) == before
    return losses, nnx.to_pure_dict(nnx.state(model)), len(traces)


def train_linen(tx, steps, net=LinenMlp):
    model, traces = net(), []
    params = model.init(jax.random.key(0), data()[0])["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=tx)
    state = state.replace(step=jnp.int32(0))  # create counts with a Python int, which is another type after the step

    def loss_of(params):
        return cross_entropy(model.apply({"params": params}, data()[0]))

    @jax.jit
    def step(state):
        traces.append(1)
        loss, grads = jax.value_and_grad(loss_of)(state.params)
        return loss, state.apply_gradients(grads=grads)

    before, losses = types(state), []
    for _ in range(steps):
        loss, state = step(state)
        losses.append(float(loss))
    assert types(state) == before
    return losses, state.params, len(traces)


# Every row of the zoo


@pytest.mark.parametrize("row", first_of_a_kind(IN_FLAX))
def test_zoo_in_nnx(row):
    losses, params, traces = train_nnx(row.tx, 2, nnx_linear)
    assert traces == 1
    assert_finite((losses, params), "the training")


def keep_lists():
    """Return a transformation of someone's own that keeps a list for each parameter."""

    def update(updates, state, params=None):
        return gradx.tree.scale(-0.1, updates), jax.tree.map(lambda x: x + 1, state)

    return gradx.GradientTransformation(lambda params: jax.tree.map(lambda p: [jnp.zeros(())], params), update)


@pytest.mark.parametrize("tx", [gradx.sm3(0.1), gradx.masked(gradx.sm3(0.1), True), keep_lists()], ids=str)
def test_lists_in_a_state_are_taken_as_nnx_keeps_them(tx):
    """It makes a State with numbers for keys of a list, at the first update; gradx's own are such from the start."""
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    before, structure = jnp.copy(model.kernel[...]), jax.tree.structure(nnx.as_pure(optimizer.opt_state))
    for _ in range(3):
        optimizer.update(model, nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 3))) ** 2))(model))
    assert jnp.all(jnp.isfinite(model.kernel[...]))
    assert jnp.any(model.kernel[...] != before)
    stays = jax.tree.structure(nnx.as_pure(optimizer.opt_state)) == structure
    assert stays == (tx.is_recipe or tx.name == "masked")


@pytest.mark.parametrize("row", first_of_a_kind(IN_FLAX))
def test_zoo_in_linen_lowers_a_real_loss(row):
    losses, params, traces = train_linen(descending(row), 30, linen_linear)
    assert traces == 1
    assert_finite((losses, params), "the training")
    if row.tx == gradx.set_to_zero():
        assert losses[-1] == losses[0]
    else:
        assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("row", first_of_a_kind(ZOO))
def test_zoo_in_chains_with_optax(row):
    params = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
    grads = jax.tree.map(lambda p: 3 * p, params)
    clip, turn = optax.clip_by_global_norm(1.0), optax.scale(-1.0)
    homes = {
        "before": (gradx.chain(row.tx, turn), gradx.chain(row.tx, gradx.scale(-1.0))),
        "behind": (optax.chain(clip, row.tx), gradx.chain(gradx.clip_by_global_norm(1.0), row.tx)),
    }

    @jax.jit
    def two_steps(params):
        results = {}
        for name, txs in homes.items():
            if row.extras and name == "behind":
                continue  # optax.chain hands extras to its own class only
            for tx in txs:
                state = tx.init(params)
                for _ in range(2):
                    before = types(state)
                    updates, state = tx.update(grads, state, params, **row.extras)
                    assert types(state) == before
                results.setdefault(name, []).append(updates)
        return results

    for with_optax, ours in two_steps(params).values():
        assert_finite(with_optax, "the update")
        assert_close(with_optax, ours)


# A few classics in every home

HOMES = {
    "nnx": train_nnx,
    "linen": train_linen,
    "optax.chain": lambda tx, steps: train_nnx(optax.chain(optax.clip_by_global_norm(1.0), tx), steps),
    "gradx.chain": lambda tx, steps: train_linen(gradx.chain(optax.clip_by_global_norm(1.0), tx), steps),
}
CLASSICS = [gradx.sgd(0.1, momentum=0.9), gradx.rmsprop(0.01), gradx.adam(0.02), gradx.adamw(0.02, weight_decay=0.01)]


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("tx", CLASSICS, ids=str)
def test_classics_lower_a_real_loss_in_every_home(tx, home):
    losses, params, traces = HOMES[home](tx, 30)
    assert traces == 1
    assert_finite(params, "the parameters")
    assert losses[-1] < 0.15 < losses[0]


def test_the_same_training_as_with_optax():
    ours, _, _ = train_nnx(gradx.adamw(0.01), 10)
    theirs, _, _ = train_nnx(optax.adamw(0.01), 10)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


# Names, boxes, modules


def first_kernel_alone(seen):
    """Return a partition that trains the first layer's kernel only, and notes the names it was shown."""

    def label(params):
        seen.append([jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)])
        return gradx.tree.map_with_path(lambda name, _: "train" if name == "l1/kernel" else "stay", params)

    return gradx.partition({"train": gradx.adam(0.01), "stay": gradx.set_to_zero()}, label)


@pytest.mark.parametrize("home", [train_nnx, train_linen, functools.partial(train_linen, net=BoxedMlp)])
def test_partition_by_path_sees_the_same_names_at_init_and_update(home):
    seen = []
    _, start, _ = home(gradx.set_to_zero(), 0)
    losses, params, traces = home(first_kernel_alone(seen), 20)
    assert traces == 1
    assert losses[-1] < 0.8 * losses[0]
    assert len(seen) >= 2
    assert all(names == [f"['l{i}']['{kind}']" for i in (1, 2) for kind in ("bias", "kernel")] for names in seen)
    start, params = gradx.tree.unbox(start), gradx.tree.unbox(params)
    moved = gradx.tree.map_with_path(lambda name, x, y: bool(jnp.any(x != y)), start, params)
    assert moved == {"l1": {"kernel": True, "bias": False}, "l2": {"kernel": False, "bias": False}}


def test_tree_of_labels_fits_boxed_parameters():
    labels = {"l1": {"kernel": "train", "bias": "stay"}, "l2": "stay"}
    for home, prefix in ((functools.partial(train_linen, net=BoxedMlp), labels), (train_nnx, nnx.State(labels))):
        tx = gradx.partition({"train": gradx.adam(0.01), "stay": gradx.set_to_zero()}, prefix)
        assert_close(home(tx, 3)[0], home(first_kernel_alone([]), 3)[0])


@pytest.mark.parametrize(
    "tx",
    [
        gradx.muon(0.1),
        gradx.masked(gradx.galore(0.1, 2), lambda params: jax.tree.map(lambda x: x.ndim > 1, params)),
        gradx.partition(
            {"kernel": gradx.muon(0.1), "bias": gradx.set_to_zero()},
            lambda params: gradx.tree.map_with_path(lambda name, _: name, params),
        ),
    ],
    ids=lambda tx: tx.name,
)
def test_what_a_mask_leaves_out_may_lie_in_a_box(tx):
    boxed = nnx.state(nnx_linear(), nnx.Param)
    bare = nnx.to_pure_dict(boxed)
    updates, _ = tx.update(boxed, tx.init(boxed), boxed)
    wanted, _ = tx.update(bare, tx.init(bare), bare)
    assert_close(nnx.to_pure_dict(updates), wanted)


def test_weight_decay_by_path_in_nnx():
    def kernels(params):
        return gradx.tree.map_with_path(lambda name, _: name.endswith("kernel"), params)

    _, start, _ = train_nnx(gradx.set_to_zero(), 0)
    tx = gradx.chain(gradx.set_to_zero(), gradx.add_decayed_weights(1.0, kernels), gradx.sgd(0.5))
    _, params, _ = train_nnx(tx, 1)
    shrunk = gradx.tree.map_with_path(lambda name, x: x / 2 if name.endswith("kernel") else x, start)
    assert_close(params, shrunk)


@jax.tree_util.register_dataclass
@dataclass
class Module:
    """A module as equinox has them: the pytree of its parameters, which can be called."""

    kernel: Any
    bias: Any

    def __call__(self, x: jax.Array) -> jax.Array:
        return x @ self.kernel + self.bias


def test_module_as_mask_or_labels_is_not_called():
    model = Module(jnp.zeros((30, 2)), jnp.zeros(2))
    grads = jax.grad(lambda model: cross_entropy(model(data()[0])))(model)
    labels = Module("train", "stay")
    parted = gradx.partition({"train": gradx.sgd(0.1), "stay": gradx.set_to_zero()}, labels)
    masked = gradx.chain(gradx.sgd(0.1), gradx.freeze(Module(False, True)))
    for tx in (parted, masked):
        updates, _ = jax.jit(tx.update)(grads, tx.init(model), model)
        assert_close(updates, Module(-0.1 * grads.kernel, jnp.zeros(2)))


def test_nnx_module_as_mask_is_not_called():
    model = NnxMlp()
    mask = jax.tree.map(lambda x: x.ndim == 2, nnx.state(model, nnx.Param))
    tx = gradx.chain(gradx.sgd(0.1), gradx.freeze(mask))
    _, start, _ = train_nnx(gradx.set_to_zero(), 0)
    _, params, _ = train_nnx(tx, 2)
    moved = gradx.tree.map_with_path(lambda name, x, y: bool(jnp.any(x != y)), start, params)
    assert moved == {layer: {"kernel": False, "bias": True} for layer in ("l1", "l2")}

    class Callable(nnx.Linear):
        def __call__(self, x):
            raise AssertionError("data was called")

    params = Callable(3, 2, rngs=nnx.Rngs(0))
    mask = jax.tree.map(lambda x: x.ndim == 2, params)
    updates, _ = gradx.masked(gradx.scale(2.0), mask).update(params, gradx.masked(gradx.scale(2.0), mask).init(params))
    assert np.array_equal(updates.kernel[...], 2 * params.kernel[...])
    assert np.array_equal(updates.bias[...], params.bias[...])


# Extras


def by_value():
    """Return a transformation that scales by the extra `value`."""

    def update(updates, state, params=None, *, value):
        return gradx.tree.scale(-value, updates), state

    return gradx.GradientTransformation(lambda params: gradx.EmptyState(), update)


@pytest.mark.parametrize(
    "wrap",
    [lambda tx: tx, lambda tx: gradx.chain(gradx.clip(1e9), tx, optax.scale(1.0)), lambda tx: gradx.MultiSteps(tx, 1)],
)
def test_extras_reach_the_transformation_through_nnx(wrap):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, wrap(by_value()), wrt=nnx.Param)
    grads = jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param))
    start = jnp.array(model.kernel[...], copy=True)

    @nnx.jit
    def step(model, optimizer, grads, value):
        optimizer.update(model, grads, value=value, unheard_of=0.0)

    step(model, optimizer, grads, jnp.float32(0.25))
    np.testing.assert_allclose(model.kernel[...], start - 0.25, rtol=1e-6)
    with pytest.raises(TypeError, match=r"needs value: call tx\.update\(updates, state, params, value=\.\.\.\)"):
        optimizer.update(model, grads)


@pytest.mark.parametrize(
    "rate", [gradx.linear_schedule(0.1, 0.0, 10), gradx.cosine_decay_schedule(0.1, 10) / 2], ids=str
)
def test_the_rate_of_now_is_read_inside_a_compiled_step(rate):
    """Flax counts in variables, and a schedule takes them."""
    model = nnx_linear()
    optimizer = nnx.Optimizer(model, gradx.sgd(rate), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, jax.tree.map(jnp.zeros_like, nnx.state(model, nnx.Param)))
        return gradx.hyperparams(optimizer.tx, optimizer.opt_state)["sgd/learning_rate"]

    for i in range(1, 3):
        np.testing.assert_allclose(step(model, optimizer), rate(i), rtol=1e-6)


def test_a_rate_set_by_hand_is_no_new_trace():
    model, traces = nnx_linear(), []
    optimizer = nnx.Optimizer(model, gradx.inject_hyperparams(gradx.sgd)(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        traces.append(1)
        optimizer.update(model, jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param)))

    biases = [model.bias[...]]
    for rate in (0.1, 0.5, 0.25):
        changed = gradx.set_hyperparams(optimizer.opt_state, learning_rate=rate)
        nnx.update(optimizer.opt_state, nnx.state(changed))
        step(model, optimizer)
        biases.append(model.bias[...])
    moved = [float(before[0] - after[0]) for before, after in itertools.pairwise(biases)]
    np.testing.assert_allclose(moved, [0.1, 0.5, 0.25], rtol=1e-5)
    assert len(traces) == 1
