"""Statistics against NumPy, and `explain` on runs made to fail in one way each, and on healthy ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris

import gradx
from gradx import diagnose

RTOL = 1e-6
"""Of float32 sums of a few entries."""
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}


def train(tx, params, loss, steps, seed=0, spoil=lambda step, grads: grads):
    """Train with `loss(params, key)` in one scan; `spoil` may damage the gradients of a step."""

    @jax.jit
    def run(params, key):
        def body(carry, step):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params, jax.random.fold_in(key, step))
            grads = spoil(step, grads)
            updates, state = tx.update(grads, state, params)
            seen = diagnose.step_statistics(grads, updates, params, value)
            return (gradx.apply_updates(params, updates), state), seen

        return jax.lax.scan(body, (params, tx.init(params)), jnp.arange(steps))[1]

    return diagnose.explain(run(params, jax.random.key(seed)), gradx.tree.paths(params))


def kinds(findings):
    return [finding.kind for finding in findings]


def mlp(sizes, gain=1.0, seed=0, bias=0.0):
    """Return dense layers in order of depth, with weights of variance gain² / fan-in."""
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    return {
        "layers": [
            {"bias": jnp.full(n, bias), "kernel": gain * jax.random.normal(key, (m, n)) / np.sqrt(m)}
            for key, m, n in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]
    }


def forward(params, x, activation="relu"):
    *hidden, last = params["layers"]
    for layer in hidden:
        x = ACTIVATIONS[activation](x @ layer["kernel"] + layer["bias"])
    return x @ last["kernel"] + last["bias"]


def classify(data, activation="relu", batch=64):
    """Return the cross entropy on random batches of a data set; all of it when `batch` is `None`."""
    x, y = data
    x = jnp.asarray((x - x.mean(0)) / (x.std(0) + 1e-2), jnp.float32)
    y = jnp.asarray(y)

    def loss(params, key):
        rows = jnp.arange(len(x)) if batch is None else jax.random.choice(key, len(x), (batch,), replace=False)
        log_p = jax.nn.log_softmax(forward(params, x[rows], activation))
        return -jnp.mean(jnp.take_along_axis(log_p, y[rows, None], 1))

    return loss


DIGITS = load_digits(return_X_y=True)
IRIS = load_iris(return_X_y=True)
DIGITS_MLP, IRIS_MLP = (64, 32, 32, 10), (4, 16, 3)


def quadratic(params, key):
    return 0.5 * jnp.sum(jnp.square(params["w"]) * jnp.array([1.0, 3.0]))


def noisy_regression(scale):
    def loss(params, key):
        x, noise = jax.random.normal(key, (5,))[:4], scale * jax.random.normal(jax.random.fold_in(key, 1))
        return jnp.square(x @ (params["w"] - 1.0) + noise)

    return loss


# The failures.


@pytest.mark.parametrize(
    ("tx", "params", "loss"),
    [
        (gradx.sgd(0.8), {"w": jnp.array([1.0, 2.0])}, quadratic),
        (gradx.sgd(5.0, momentum=0.9), mlp(DIGITS_MLP), classify(DIGITS)),
        (gradx.adamw(3.0), mlp(DIGITS_MLP), classify(DIGITS)),
        (gradx.sgd(30.0), mlp(IRIS_MLP), classify(IRIS, batch=None)),
    ],
    ids=["quadratic", "sgd digits", "adamw digits", "sgd iris"],
)
def test_a_too_high_learning_rate_diverges(tx, params, loss):
    findings = train(tx, params, loss, 200)
    assert "diverging" in kinds(findings), findings
    assert not {"slow", "stuck", "noisy", "vanishing gradients"} & set(kinds(findings)), findings
    found = findings[kinds(findings).index("diverging")]
    assert "Lower the learning rate" in str(found)
    assert found.numbers["after"] > found.numbers["before"]
    assert found.step < 100


def test_a_run_that_diverges_late_is_dated():
    rate = gradx.piecewise_constant_schedule(0.1, {100: 20.0})
    (found,) = train(gradx.sgd(rate), {"w": jnp.array([1.0, 2.0])}, quadratic, 130)
    assert found.kind == "diverging"
    assert 100 <= found.step < 130


@pytest.mark.parametrize(
    ("tx", "params", "loss"),
    [
        (gradx.sgd(1e-6), {"w": jnp.array([1.0, 2.0])}, quadratic),
        (gradx.sgd(1e-6), mlp(DIGITS_MLP), classify(DIGITS)),
        (gradx.adamw(1e-8), mlp(DIGITS_MLP), classify(DIGITS)),
        (gradx.adamw(1e-8), mlp(IRIS_MLP), classify(IRIS, batch=8)),
        (gradx.sgd(1e-7), jax.tree.map(jnp.zeros_like, mlp((64, 10))), classify(DIGITS)),
    ],
    ids=["quadratic", "sgd digits", "adamw digits", "adamw iris", "from zero"],
)
def test_a_too_low_learning_rate_is_stuck(tx, params, loss):
    (found,) = train(tx, params, loss, 200)
    assert found.kind == "stuck"
    assert "Raise the learning rate" in str(found)


@pytest.mark.parametrize(
    ("tx", "params", "loss"),
    [
        (gradx.sgd(3e-5), {"w": jnp.array([1.0, 2.0])}, quadratic),
        (gradx.sgd(3e-4), mlp(DIGITS_MLP), classify(DIGITS)),
        (gradx.adamw(1e-5), mlp(DIGITS_MLP), classify(DIGITS)),
    ],
    ids=["quadratic", "sgd digits", "adamw digits"],
)
def test_a_low_learning_rate_is_slow(tx, params, loss):
    (found,) = train(tx, params, loss, 200)
    assert found.kind == "slow"
    assert found.numbers["update_ratio"] < 1e-4


@pytest.mark.parametrize(("activation", "gain"), [("sigmoid", 1.0), ("tanh", 0.1)])
def test_gradients_vanish_in_the_first_layers(activation, gain):
    findings = train(gradx.sgd(0.1), mlp((64, *(32,) * 9, 10), gain), classify(DIGITS, activation), 200)
    assert "vanishing gradients" in kinds(findings)
    assert "exploding gradients" not in kinds(findings)
    found = findings[kinds(findings).index("vanishing gradients")]
    assert "layers/0" in found.layers
    assert "layers/9" not in found.layers
    assert "layers/0" in str(found)


def recurrent(params, key):
    """Return the squared end of 60 steps of a linear map whose radius is above 1."""
    h = jnp.ones(8)
    for _ in range(60):
        h = params["cell"]["kernel"] @ h
    return jnp.mean(jnp.square(params["out"]["kernel"] @ h - 1.0))


def test_gradients_explode_through_time():
    params = {"cell": {"kernel": 1.5 * jnp.eye(8)}, "out": {"kernel": jnp.eye(8)}}
    findings = train(gradx.chain(gradx.clip_by_global_norm(1.0), gradx.sgd(1e-4)), params, recurrent, 100)
    assert kinds(findings)[0] == "exploding gradients"
    assert findings[0].layers == ("cell",)
    assert "vanishing gradients" not in kinds(findings)


def test_gradients_explode_through_depth():
    params = mlp((64, *(32,) * 11, 10), gain=5.0)
    findings = train(gradx.sgd(1e-9), params, classify(DIGITS, "tanh"), 100)
    assert "exploding gradients" in kinds(findings)
    assert "layers/0" in findings[0].layers
    assert "layers/11" not in findings[0].layers


def test_a_sudden_gradient_is_dated():
    def spoil(step, grads):
        return jax.tree.map(lambda g: jnp.where(step == 70, 1e4 * g, g), grads)

    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.sgd(0.05))
    (found,) = train(tx, mlp(DIGITS_MLP), classify(DIGITS), 100, spoil=spoil)
    assert (found.kind, found.step) == ("exploding gradients", 70)


@pytest.mark.parametrize("scale", [3.0, 10.0])
def test_noise_that_hides_the_progress_is_named(scale):
    (found,) = train(gradx.sgd(3e-3), {"w": jnp.zeros(4)}, noisy_regression(scale), 300)
    assert found.kind == "noisy"
    assert found.numbers["noise"] > found.numbers["start"] - found.numbers["end"]


def test_units_that_never_fire_are_dead():
    params = mlp(DIGITS_MLP)
    params["layers"][1]["bias"] -= 100.0
    findings = train(gradx.sgd(0.05), params, classify(DIGITS), 100)
    (found,) = [finding for finding in findings if finding.kind == "dead"]
    assert found.layers == ("layers/0", "layers/1")  # nothing flows back through the dead layer either
    assert found.numbers["fraction"] == 1.0
    assert set(kinds(findings)) == {"dead"}


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_bad_entry_is_found_with_its_layer_and_step(bad):
    def spoil(step, grads):
        kernel = grads["layers"][1]["kernel"]
        grads["layers"][1]["kernel"] = kernel.at[3, 4].set(jnp.where(step == 40, bad, kernel[3, 4]))
        return grads

    (found,) = train(gradx.sgd(0.05), mlp(DIGITS_MLP), classify(DIGITS), 100, spoil=spoil)
    assert (found.kind, found.step) == ("non-finite", 40)
    assert found.layers == ("layers/1/kernel",)
    assert "gradient" in str(found)


def test_a_loss_that_breaks_alone_is_told_from_the_layers():
    ones = jnp.ones((3, 1))
    loss = jnp.array([1.0, jnp.nan, 1.0])
    history = diagnose.StepStatistics(ones, ones, ones, ones, 0 * ones, 0 * ones, loss)
    (found,) = diagnose.explain(history)
    assert (found.kind, found.layers, found.step) == ("non-finite", (), 1)


def test_one_step_that_destroys_the_weights_is_a_learning_rate():
    findings = train(gradx.sgd(1e30), {"w": jnp.array([1.0, 2.0])}, quadratic, 5)
    assert kinds(findings) == ["non-finite", "diverging"]


# Healthy runs.


HEALTHY = {
    "quadratic": (gradx.sgd(0.1), {"w": jnp.array([1.0, 2.0])}, quadratic, 100),
    "quadratic to zero": (gradx.sgd(0.3), {"w": jnp.array([1.0, 2.0])}, quadratic, 500),
    "sgd digits": (gradx.sgd(0.1), mlp(DIGITS_MLP), classify(DIGITS), 300),
    "momentum digits": (gradx.sgd(0.05, momentum=0.9), mlp(DIGITS_MLP), classify(DIGITS), 300),
    "adamw digits": (gradx.adamw(1e-3), mlp(DIGITS_MLP), classify(DIGITS), 300),
    "adamw digits, high": (gradx.adamw(1e-2), mlp(DIGITS_MLP), classify(DIGITS), 1000),
    "adamw digits, batches of 4": (gradx.adamw(1e-3), mlp(DIGITS_MLP), classify(DIGITS, batch=4), 500),
    "adamw digits, tanh": (gradx.adamw(1e-3), mlp((64, *(32,) * 5, 10)), classify(DIGITS, "tanh"), 300),
    "sgd iris": (gradx.sgd(0.1), mlp(IRIS_MLP), classify(IRIS, batch=None), 300),
    "adamw iris": (gradx.adamw(1e-2), mlp(IRIS_MLP), classify(IRIS, batch=None), 300),
    "adamw iris, until flat": (gradx.adamw(3e-2), mlp(IRIS_MLP), classify(IRIS, batch=None), 2000),
    "softmax regression from zero": (
        gradx.sgd(0.1),
        jax.tree.map(jnp.zeros_like, mlp((64, 10))),
        classify(DIGITS),
        200,
    ),
    "warmup and cosine": (
        gradx.adamw(gradx.warmup_cosine_decay_schedule(0.0, 5e-3, 50, 400)),
        mlp(DIGITS_MLP),
        classify(DIGITS),
        400,
    ),
    "noise around a fit": (gradx.sgd(1e-2), {"w": jnp.full(4, 9.0)}, noisy_regression(0.5), 400),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("run", HEALTHY)
def test_healthy_runs_are_left_in_peace(run, seed):
    assert train(*HEALTHY[run], seed=seed) == []


def test_a_run_that_starts_at_its_minimum_is_not_slow():
    x, y = jax.random.normal(jax.random.key(0), (2, 64))

    def loss(params, key):
        return jnp.mean(jnp.square(x * params["w"] - y))

    best = {"w": jnp.vdot(x, y) / jnp.vdot(x, x)}
    assert train(gradx.sgd(1e-3), best, loss, 100) == []


def test_an_idle_bias_is_no_vanishing_layer_and_rare_rows_are_not_dead():
    def loss(params, key):
        rows = params["embedding"]["table"][jax.random.choice(key, 500, (4,))]
        h = rows @ params["dense"]["kernel"] + params["dense"]["bias"]
        h = h - jnp.mean(h, 0)  # as a normalization does: the bias gets rounding errors alone
        return jnp.mean(jnp.square(h - rows))

    keys = jax.random.split(jax.random.key(0))
    params = {
        "embedding": {"table": jax.random.normal(keys[0], (500, 8))},
        "dense": {"kernel": jax.random.normal(keys[1], (8, 8)) / 3, "bias": jnp.zeros(8)},
    }
    assert train(gradx.sgd(0.05), params, loss, 200) == []


# The statistics.


def test_statistics_are_those_of_the_formulas():
    params = {"a": jnp.array([[3.0, 4.0]]), "b": {"w": jnp.array([2.0, 0.0, 1.0])}}
    grads = {"a": jnp.array([[0.0, 2.0]]), "b": {"w": jnp.array([jnp.nan, 0.0, 0.0])}}
    updates = {"a": jnp.array([[0.5, 0.0]]), "b": {"w": jnp.array([1.0, jnp.inf, 0.0])}}
    seen = diagnose.step_statistics(grads, updates, params, 7)
    assert gradx.tree.paths(params) == ["a", "b/w"]
    np.testing.assert_allclose(seen.gradient_norm, [2.0, np.nan], RTOL)
    np.testing.assert_allclose(seen.update_norm, [0.5, np.inf], RTOL)
    np.testing.assert_allclose(seen.weight_norm, [5.0, np.sqrt(5.0)], RTOL)
    np.testing.assert_allclose(seen.update_ratio, [0.1, np.inf], RTOL)
    np.testing.assert_allclose(seen.dead, [0.5, 2 / 3], RTOL)
    np.testing.assert_allclose(seen.non_finite, [0.0, 2 / 3], RTOL)
    assert seen.loss == 7.0
    assert {x.dtype for x in jax.tree.leaves(seen)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "complex64"])
def test_norms_keep_their_range_in_every_dtype(dtype):
    largest = float(jnp.finfo(dtype).max) / 64
    leaf = jnp.full(1000, largest, dtype)
    seen = jax.jit(diagnose.step_statistics)({"w": leaf}, {"w": 0 * leaf}, {"w": leaf})
    expected = np.sqrt(1000.0) * float(jnp.abs(leaf[0]))
    np.testing.assert_allclose(seen.gradient_norm, [expected], 1e-5)
    assert seen.gradient_norm.dtype == jnp.float32
    assert float(seen.non_finite[0]) == 0.0
    assert float(seen.dead[0]) == 0.0


def test_tiny_and_zero_leaves():
    tree = {"empty": jnp.zeros((0, 3)), "tiny": jnp.full(4, 1e-30), "zero": jnp.zeros(2)}
    seen = diagnose.step_statistics(tree, tree, tree)
    np.testing.assert_allclose(seen.gradient_norm, [0.0, 2e-30, 0.0], RTOL)
    np.testing.assert_allclose(seen.update_ratio, [0.0, 1.0, 0.0], RTOL)
    np.testing.assert_allclose(seen.dead, [0.0, 0.0, 1.0], RTOL)
    moved = diagnose.step_statistics(tree, jax.tree.map(jnp.ones_like, tree), tree)
    assert moved.update_ratio[2] == jnp.inf


def test_leaves_without_a_gradient_are_absent():
    params = {"frozen": jnp.ones(2), "index": jnp.arange(3), "w": jnp.array([1.0, 1.0])}
    grads = {"frozen": None, "index": np.zeros(3, jax.dtypes.float0), "w": jnp.array([1.0, 0.0])}
    seen = diagnose.step_statistics(grads, {**grads, "w": jnp.zeros(2)}, params)
    np.testing.assert_allclose(seen.gradient_norm, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(seen.dead, [0.0, 0.0, 0.5])
    np.testing.assert_allclose(seen.weight_norm, [np.sqrt(2.0), np.sqrt(5.0), np.sqrt(2.0)], RTOL)
    assert diagnose.explain(diagnose.stack([seen] * 30), gradx.tree.paths(params)) == []


def test_jit_vmap_scan_and_strict_promotion_agree():
    params = mlp(IRIS_MLP)
    grads = jax.tree.map(lambda x: 0.1 * x, params)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        one = diagnose.step_statistics(grads, grads, params, jnp.bfloat16(2.0))
        many = [jax.tree.map(lambda x: jnp.stack([x] * 3), tree) for tree in (grads, grads, params)]
        batched = jax.jit(jax.vmap(diagnose.step_statistics))(*many, jnp.full(3, 2.0, jnp.bfloat16))
        _, scanned = jax.lax.scan(
            lambda c, _: (c, diagnose.step_statistics(grads, grads, params, jnp.bfloat16(2.0))), 0, length=3
        )
    for other in (batched, scanned, diagnose.stack([one] * 3)):
        for name, x, y in zip(one._fields, one, other, strict=True):
            np.testing.assert_allclose(y, np.stack([x] * 3), RTOL, err_msg=name)


def test_flax_models_and_a_history_without_losses():
    from flax import nnx

    params = nnx.state(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Param)
    grads = jax.tree.map(jnp.ones_like, params)
    updates, _ = gradx.sgd(1e-3).update(grads, gradx.sgd(1e-3).init(params), params)
    seen = diagnose.step_statistics(grads, updates, params)
    assert seen.loss is None
    assert seen.gradient_norm.shape == (2,)
    assert diagnose.explain(diagnose.stack([seen] * 30), gradx.tree.paths(params)) == []


def test_wrong_arguments_are_named():
    w = {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match="grads at 'w'"):
        diagnose.step_statistics({"w": jnp.ones(3)}, w, w)
    with pytest.raises(ValueError, match="updates"):
        diagnose.step_statistics(w, {"v": jnp.ones(2)}, w)
    seen = diagnose.step_statistics(w, w, w, 1.0)
    with pytest.raises(ValueError, match="stack the steps"):
        diagnose.explain(seen)
    with pytest.raises(ValueError, match="3 names for 1 layers"):
        diagnose.explain(diagnose.stack([seen]), ["a", "b", "c"])
    with pytest.raises(ValueError, match="loss must be"):
        diagnose.explain(diagnose.stack([seen])._replace(loss=jnp.ones(2)))
    with pytest.raises(ValueError, match="no statistics"):
        diagnose.stack([])


def test_short_and_empty_histories_are_quiet():
    seen = diagnose.step_statistics({"w": jnp.ones(2)}, {"w": 1e-3 * jnp.ones(2)}, {"w": jnp.ones(2)}, 1.0)
    assert diagnose.explain(diagnose.stack([seen])) == []
    empty = jax.tree.map(lambda x: x[:0], diagnose.stack([seen]))
    assert diagnose.explain(empty) == []
    nothing = diagnose.step_statistics({}, {}, {}, 1.0)
    assert diagnose.explain(diagnose.stack([nothing] * 30), []) == []
