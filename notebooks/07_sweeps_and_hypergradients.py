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
# # Sweeps and hypergradients
#
# In gradx an optimizer is a pytree whose leaves are its numbers. So `vmap` over one whose leaves are stacked trains
# with many learning rates in one program, and `grad` by one says how the end of a training changes with its learning
# rate, its momentum, its weight decay.
#
# **Goal**: tune by a sweep in one program, and by descent. **Time**: 15 minutes.

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
from gradx import losses, tune, viz

# %matplotlib inline

# %% [markdown]
# ## A training as a function of its optimizer

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
train, valid = (images[:1437], labels[:1437]), (images[1437:], labels[1437:])
STEPS = 200


def network(key):
    """Return a perceptron with one hidden layer, drawn from a key."""
    return nnx.Sequential(nnx.Linear(64, 32, rngs=nnx.Rngs(key)), nnx.relu, nnx.Linear(32, 10, rngs=nnx.Rngs(key)))


graph, _ = nnx.split(network(0))


def loss_of(params, batch):
    x, y = batch
    return losses.softmax_cross_entropy_with_integer_labels(nnx.merge(graph, params)(x), y).mean()


def fit(tx, key, steps=STEPS, dtype=jnp.float32):
    """Train from the network and on the batches that the key decides; return the loss on the validation set."""
    make, draw = jax.random.split(key)
    params = jax.tree.map(lambda p: p.astype(dtype), nnx.split(network(make))[1])

    def step(carry, key):
        params, state = carry
        chosen = jax.random.randint(key, (64,), 0, 1437)
        gradients = jax.grad(loss_of)(params, jax.tree.map(lambda x: x[chosen], train))
        updates, state = tx.update(gradients, state, params)
        return (gradx.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), jax.random.split(draw, steps))
    return loss_of(params, valid)


print(f"one training: {fit(gradx.adam(0.01), jax.random.key(0)):.3f}")

# %% [markdown]
# ## A sweep: learning rates times seeds, one program
#
# `tune.sweep` replaces the named numbers, member by member, and runs all members with all seeds under `vmap`. The
# function is traced once. `chunk` bounds how many run at once where memory is short; `progress` is told.

# %%
rates = np.geomspace(1e-4, 1.0, 17)
traces = []


def counted(tx, key):
    traces.append(1)
    return fit(tx, key)


swept = {}
for name, tx in {"sgd": gradx.sgd(0.1), "momentum": gradx.sgd(0.1, momentum=0.9), "adam": gradx.adam(0.1)}.items():
    swept[name] = tune.sweep(tx, counted, {"learning_rate": rates}, seeds=4)
    print(f"{name:<9} best {swept[name].best()}   {swept[name]}")
print(f"{len(rates) * 4 * 3} trainings, {len(traces)} traces")

# %%
figure = viz.training_curves(
    {name: result.results.T for name, result in swept.items()},
    rates,
    title="validation loss after 200 steps; four seeds",
    xlabel="learning rate",
    log=True,
)
figure.axes[0].set(xscale="log", xlim=(rates[0], rates[-1]))
figure

# %% [markdown]
# The best rate of plain descent is the greatest of the grid. Then the grid was too short, and says nothing about the
# best rate there is; momentum and Adam have theirs inside. Further up:

# %%
above = tune.sweep(gradx.sgd(0.1), fit, {"learning_rate": [1.0, 1.8, 3.2, 5.6, 10.0]}, seeds=4)
for member, seeds in zip(above.values["learning_rate"], above.results, strict=True):
    print(f"rate {member:<4g} mean {seeds.mean():.3f} ({seeds.min():.3f} to {seeds.max():.3f})")

# %% [markdown]
# With 1.8 all four seeds are lost already: 2.3 is the loss of ten equal guesses. The best rate of plain descent is near
# 1, right below the edge beyond which nothing trains; that the grid ended there was luck.
#
# ## A grid
#
# Any numbers of the optimizer can vary together; `tune.grid` makes every combination.

# %%
grid = tune.grid(learning_rate=[0.003, 0.01, 0.03, 0.1], b1=[0.0, 0.5, 0.9, 0.98])
result = tune.sweep(gradx.adam(0.01), fit, grid, seeds=2, chunk=8, progress=lambda done, all: print(f"{done}/{all}"))
print("best:", result.best())
table = result.results.mean(1).reshape(4, 4)
print("learning rate down, b1 across:", *[f"{x:6g}" for x in (0.0, 0.5, 0.9, 0.98)])
for rate, row in zip((0.003, 0.01, 0.03, 0.1), table, strict=True):
    print(f"{rate:29g}", *[f"{x:6.3f}" for x in row])

# %% [markdown]
# At the smaller rates `b1` hardly matters. At 0.03 and 0.1 the two middle values end lowest, and none at all, `b1` = 0,
# highest.
#
# ## Hypergradients
#
# The derivative of the validation loss at the end of a training by the numbers of the optimizer: `jax.grad` goes back
# through all the steps. The result has the shape of the optimizer, because it is one.

# %%
short = jax.jit(lambda tx: fit(tx, jax.random.key(1), steps=50))
tx = gradx.sgd(0.05, momentum=0.8)
slopes = jax.grad(short)(tx)
print(slopes.arguments)

# %% [markdown]
# Is it the slope? Against central differences, in float64 so that little is lost in the subtraction:

# %%
with jax.enable_x64(True):
    precise = jax.jit(lambda tx: fit(tx, jax.random.key(1), steps=50, dtype=jnp.float64))
    for name, value in {"learning_rate": 0.05, "momentum": 0.8}.items():
        h = 1e-7
        ends = [precise(gradx.replace(tx, **{name: np.float64(value + d)})) for d in (-h, h)]
        by_difference = (ends[1] - ends[0]) / (2 * h)
        slope = jax.grad(precise)(gradx.replace(tx, **{name: np.float64(value)})).arguments[name]
        print(f"{name:<14} by the chain rule {slope:9.5f}   by differences {by_difference:9.5f}")

# %% [markdown]
# ## Descent on the hyperparameters
#
# Learning rates are positive and momentum lies below one, so we descend on their logarithm and log-odds, with Adam of
# course. Every outer step is one training and its derivative.


# %%
def decode(hyper):
    return gradx.replace(tx, learning_rate=jnp.exp(hyper["log_rate"]), momentum=jax.nn.sigmoid(hyper["odds"]))


@jax.jit
def outer_step(hyper, state):
    value, slope = jax.value_and_grad(lambda hyper: short(decode(hyper)))(hyper)
    updates, state = outer.update(slope, state, hyper)
    return gradx.apply_updates(hyper, updates), state, value


outer = gradx.adam(0.1)
hyper = {"log_rate": jnp.log(0.01), "odds": jnp.asarray(0.0)}
state, seen = outer.init(hyper), []
for _ in range(40):
    now = decode(hyper).arguments
    hyper, state, value = outer_step(hyper, state)
    seen.append((float(value), float(now["learning_rate"]), float(now["momentum"])))
value, rate, momentum = np.array(seen).T
print(f"validation loss {value[0]:.3f} -> {value[-1]:.3f}")
print(f"learning rate {rate[0]:.3f} -> {rate[-1]:.3f}, momentum {momentum[0]:.2f} -> {momentum[-1]:.2f}")

# %%
viz.training_curves(
    {"validation loss": value, "learning rate": rate, "momentum": momentum},
    title="forty steps of descent on the optimizer's own numbers",
    xlabel="outer step",
    log=True,
)

# %% [markdown]
# The loss falls tenfold in 25 steps. Then the descent goes on to greater numbers without a gain, and the loss moves up
# and down between 0.19 and 0.27.
#
# A warning: the slope through a long or diverging training is huge and means little, for the end is then a wild
# function of the numbers. Fifty steps at a rate that trains are well within what works; beyond the edge of stability a
# sweep is the better tool.
#
# **Exercise.** Sweep Adam's `b2` over 0.9, 0.99 and 0.999 at a rate of 0.03, with four seeds. Does it matter here? What
# you should see: not much. The means lie between 0.059 and 0.065, and the brackets of the seeds overlap.
#
# Next: [gradients that vanish and explode](08_vanishing_and_exploding_gradients.ipynb).
