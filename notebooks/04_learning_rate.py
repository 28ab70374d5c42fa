# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The learning rate: too high, too low, and how to find it
#
# No other number decides as much. Here is what a wrong one looks like, how to tell which way it is wrong, what
# schedules and warmup change, how to find a good one in a single compiled program, and how to change it by hand in the
# middle of a training.
#
# **Goal**: tell from a curve which way a learning rate is wrong, and set a better one. **Time**: 20 minutes.

# %%
import sys

if "google.colab" in sys.modules:  # there only; upload the wheel, which `python -m build` makes, beside this notebook
    from IPython import get_ipython

    get_ipython().run_line_magic("pip", "install --quiet gradx-*.whl flax matplotlib mlxtend scikit-learn")

# %%
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from sklearn.datasets import load_digits

import gradx
from gradx import diagnose, losses, tune, viz

# %matplotlib inline

# %% [markdown]
# ## Where it is exact: a quadratic
#
# On $f(w) = \tfrac L2 w^2$ a step of gradient descent multiplies $w$ by $1 - \eta L$. Below $1/L$ it creeps, there it
# arrives at once, up to $2/L$ it overshoots and still converges, beyond it diverges. With $L = 10$:

# %%
L = 10.0


def distance(rate, steps=20):
    """Return |w| at the start, w = 1, and after each step of descent."""
    tx = gradx.sgd(rate)

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(L * w, state, w)
        w = gradx.apply_updates(w, updates)
        return (w, state), jnp.abs(w)

    after = jax.lax.scan(step, (jnp.ones(()), tx.init(jnp.ones(()))), length=steps)[1]
    return np.concatenate([[1.0], after])


quadratic = {f"{share} · 2/L": distance(share * 2 / L) for share in (0.05, 0.25, 0.9, 1.0, 1.1)}
for name, curve in quadratic.items():
    print(f"{name:<12} after 20 steps |w| = {curve[-1]:.2g}")
viz.training_curves(quadratic, title="distance to the minimum", log=True)

# %% [markdown]
# ## On a network
#
# A perceptron on 1,797 scanned digits, Adam, batches of 64. One function trains; it takes the optimizer as an argument,
# so that all learning rates below share one compiled program. At every step it keeps the statistics from which
# `gradx.diagnose.explain` reads what is wrong.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
train, test = (images[:1437], labels[:1437]), (images[1437:], labels[1437:])

model = nnx.Sequential(
    nnx.Linear(64, 64, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(64, 64, rngs=nnx.Rngs(1)), nnx.relu,
    nnx.Linear(64, 10, rngs=nnx.Rngs(2)),
)  # fmt: skip
graph, start = nnx.split(model)
STEPS = 400
chosen = jnp.asarray(np.random.default_rng(0).integers(0, 1437, (STEPS, 64)))


def loss_of(params, batch):
    x, y = batch
    return losses.softmax_cross_entropy_with_integer_labels(nnx.merge(graph, params)(x), y).mean()


@jax.jit
def fit(tx):
    """Return the test loss after each step, and the statistics of the steps."""

    def step(carry, indices):
        params, state = carry
        value, gradients = jax.value_and_grad(loss_of)(params, jax.tree.map(lambda x: x[indices], train))
        updates, state = tx.update(gradients, state, params)
        seen = diagnose.step_statistics(gradients, updates, params, value)
        params = gradx.apply_updates(params, updates)
        return (params, state), (loss_of(params, test), seen)

    return jax.lax.scan(step, (start, tx.init(start)), chosen)[1]


curves = {}
for what, rate in {"too low": 1e-5, "low": 3e-4, "about right": 1e-2, "too high": 1.0}.items():
    curve, history = fit(gradx.adam(rate))
    curves[f"{rate:g}, {what}"] = np.asarray(curve)
    print(f"{rate:<7g} test loss {curve[-1]:.3f}")
    for finding in diagnose.explain(history, gradx.tree.paths(start)):
        print("       ", finding)

# %%
viz.training_curves(curves, np.arange(1, STEPS + 1), title="test loss, by learning rate", log=True)

# %% [markdown]
# Too low looks like patience, too high like a loss that leaps and settles where it began. `explain` names the two ends
# with their numbers, and says nothing of the runs between.

# %% [markdown]
# ## The finder
#
# `gradx.tune.lr_find` trains briefly with 64 rates, all at once in one program, and reads the losses. The parameters
# given to it stay as they are. Its suggestion is at most half of the *edge*: the lowest rate, from the best one on,
# with which the loss was at some step above every loss of the untrained network. Such a rate may still end low, as
# those near 0.1 in the picture, and fail in a longer training.

# %%
batches = jax.tree.map(lambda x: x[chosen[:60]], train)
found = {
    name: tune.lr_find(tx, loss_of, start, batches)
    for name, tx in {"sgd": gradx.sgd(1.0), "momentum": gradx.sgd(1.0, momentum=0.9), "adam": gradx.adam(1.0)}.items()
}
for name, curve in found.items():
    print(f"{name:<9} {curve}")

# %%
viz.learning_rate_curve(found["adam"])

# %% [markdown]
# The suggestions differ by a factor of twenty: a learning rate is a number of its optimizer. Trained for
# long with each:

# %%
for name, tx in {"sgd": gradx.sgd(1.0), "momentum": gradx.sgd(1.0, momentum=0.9), "adam": gradx.adam(1.0)}.items():
    ends = {
        factor: float(fit(gradx.replace(tx, learning_rate=factor * found[name].suggestion))[0][-1])
        for factor in (0.1, 0.3, 1, 3)
    }
    shown = ", ".join(f"{factor} times: {end:.3f}" for factor, end in ends.items())
    print(f"{name:<9} test loss at the suggestion's {shown}")

# %% [markdown]
# The suggestion is on the safe side of the edge, not the best rate there is. Plain descent does as well with three
# times as much; Adam ends a little lower with a third (by less than the spread over the order of the batches, which the
# next table shows for a constant rate); and momentum is lost with three times as much, at 2.3, the loss of ten equal
# guesses. Take the suggestion as a start, and look one step down before looking up.
#
# ## Schedules
#
# Wherever a number may stand in gradx, a schedule may. Steps, a cosine, a warmup before it:

# %%
peak = 0.02
schedules = {
    "constant": gradx.constant_schedule(peak),
    "steps": gradx.piecewise_constant_schedule(peak, {STEPS // 2: 0.3, 3 * STEPS // 4: 0.3}),
    "cosine": gradx.cosine_decay_schedule(peak, STEPS),
    "warmup, cosine": gradx.warmup_cosine_decay_schedule(0.0, peak, STEPS // 10, STEPS),
}
viz.schedules(schedules, STEPS)

# %% [markdown]
# Which ends best? The mean and the spread over five orders of the batches, with the same peak:

# %%
orders = jnp.asarray(np.random.default_rng(1).integers(0, 1437, (5, STEPS, 64)))


@jax.jit
def ends(tx):
    """Return the mean test loss of the last 20 steps for five orders of the batches."""

    def one(chosen):
        def step(carry, indices):
            params, state = carry
            gradients = jax.grad(loss_of)(params, jax.tree.map(lambda x: x[indices], train))
            updates, state = tx.update(gradients, state, params)
            params = gradx.apply_updates(params, updates)
            return (params, state), loss_of(params, test)

        return jax.lax.scan(step, (start, tx.init(start)), chosen)[1][-20:].mean()

    return jax.vmap(one)(orders)


for name, schedule in schedules.items():
    seen = ends(gradx.adam(schedule))
    print(f"{name:<15} test loss {seen.mean():.3f} ({seen.min():.3f} to {seen.max():.3f})")

# %% [markdown]
# The constant rate is as good with one order of the batches, and five times worse with another. That the rate falls
# helps; how it falls does not show, for the brackets of the other three overlap.
#
# ## Warmup
#
# Adam divides by a root mean square that knows only a few gradients at first: its first steps are as long as the
# learning rate allows, in every coordinate. Where that is too far, a warmup helps; where it is not, it costs a few
# steps. So the gain should grow with the peak:

# %%
for peak in (0.003, 0.02, 0.1, 0.3):
    cold = ends(gradx.adam(gradx.cosine_decay_schedule(peak, STEPS)))
    warm = ends(gradx.adam(gradx.warmup_cosine_decay_schedule(0.0, peak, STEPS // 10, STEPS)))
    print(
        f"peak {peak:<6g} without warmup {cold.mean():.3f} ({cold.min():.3f} to {cold.max():.3f})"
        f"   with {warm.mean():.3f} ({warm.min():.3f} to {warm.max():.3f})"
    )

# %% [markdown]
# Read the table, not the rule: a difference smaller than the spread is none. At the two small peaks the brackets
# overlap; at 0.1 the warmup lowers the mean and the spread; at 0.3 nothing trains without it, and some orders of the
# batches are lost with it too.
#
# ## Changing the rate by hand
#
# A schedule knows in advance. Sometimes one learns only on the way that the rate must change: the validation loss
# stands still, or a person decides. In a Flax loop `nnx.Optimizer` holds the optimizer; `gradx.inject_hyperparams`
# keeps its numbers in the state, where `gradx.set_hyperparams` writes others, and `nnx.update` puts these into the
# variables that the optimizer has. The compiled step takes the state as data:


# %%
def network():
    rngs = nnx.Rngs(0)
    return nnx.Sequential(nnx.Linear(64, 64, rngs=rngs), nnx.relu, nnx.Linear(64, 10, rngs=rngs))


def set_rate(optimizer, rate):
    changed = gradx.set_hyperparams(optimizer.opt_state, learning_rate=rate)
    nnx.update(optimizer.opt_state, nnx.state(changed))


def replace_rate(optimizer, rate):
    optimizer.tx = gradx.replace(optimizer.tx, learning_rate=rate)


def halve_on_plateau(tx, change, rate=0.02, epochs=8):
    """Train, halve the rate after each epoch that gains less than 5 %, and return test losses, rates and traces."""
    model, traces = network(), []
    optimizer = nnx.Optimizer(model, tx(rate), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y):
        traces.append(1)  # runs when jit traces, and not when the compiled program runs
        gradients = nnx.grad(lambda model: losses.softmax_cross_entropy_with_integer_labels(model(x), y).mean())(model)
        optimizer.update(model, gradients)

    ends, rates, best = [], [], np.inf
    for epoch in range(epochs):
        for indices in chosen[50 * epoch : 50 * (epoch + 1)]:
            step(model, optimizer, train[0][indices], train[1][indices])
        ends.append(float(losses.softmax_cross_entropy_with_integer_labels(model(test[0]), test[1]).mean()))
        rates.append(rate)
        if ends[-1] > 0.95 * best:
            rate /= 2
            change(optimizer, rate)
        best = min(best, ends[-1])
    return ends, rates, len(traces)


injected = halve_on_plateau(lambda rate: gradx.inject_hyperparams(gradx.adam)(rate), set_rate)
replaced = halve_on_plateau(gradx.adam, replace_rate)
print("rates:     ", ", ".join(f"{rate:g}" for rate in injected[1]))
print("test loss: ", ", ".join(f"{loss:.3f}" for loss in injected[0]))
print(
    f"traces: {injected[2]} with set_hyperparams, {replaced[2]} with replace; same rates: {injected[1] == replaced[1]}"
)

# %% [markdown]
# The third epoch gained too little, and so did the seventh; after each the rate was halved. `gradx.replace` makes
# another optimizer, and here every other optimizer is another program: `nnx.Optimizer` keeps `tx` beside its variables,
# as part of what it *is*, which `nnx.jit` compares and does not trace. A step that takes the optimizer as an argument,
# as `fit` above, is traced once for all rates, since its numbers are then data. Assigning
# `optimizer.opt_state = gradx.set_hyperparams(...)` works too, but costs one more trace: the new number stands
# there as a bare array, no longer as a variable.
#
# **Exercise.** Ask `tune.lr_find` for `gradx.rmsprop(1.0)`, and before that, guess: nearer to Adam's suggestion or to
# sgd's? What you should see: Adam's, for both divide by the size of the gradient.
#
# Next: [which optimizer for what](05_which_optimizer.ipynb), and [sweeps](07_sweeps_and_hypergradients.ipynb) over
# whatever else has a number.
