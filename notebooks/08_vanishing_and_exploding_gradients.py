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
# # Gradients that vanish, gradients that explode
#
# On its way back to the first layer a gradient is multiplied by one matrix for each layer. If they shrink it, the first
# layers learn nothing; if they stretch it, one step throws the weights away. Here both happen on real digits. We look
# at them layer by layer, let `gradx.diagnose` name them, and measure which of the usual cures cures.
#
# **Goal**: see from gradient norms that a network cannot learn, and know what helps. **Time**: 20 minutes.

# %%
import sys

if "google.colab" in sys.modules:  # there only; upload the wheel, which `python -m build` makes, beside this notebook
    from IPython import get_ipython

    get_ipython().run_line_magic("pip", "install --quiet gradx-*.whl flax matplotlib mlxtend scikit-learn")

# %%
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from sklearn.datasets import load_digits

import gradx
from gradx import diagnose, losses, tune, viz

# %matplotlib inline

# %% [markdown]
# ## A network of ten layers
#
# `gain` scales the initial weights: with 1 a linear layer keeps the size of what goes through it. Normalization and
# residual connections can be switched on.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
train, test = (images[:1437], labels[:1437]), (images[1437:], labels[1437:])
DEPTH, WIDTH, STEPS = 10, 32, 400


class Deep(nnx.Module):
    """Ten layers of 32, and the logits."""

    def __init__(self, activation, gain=1.0, normalized=False, residual=False):
        rngs = nnx.Rngs(0)
        scaled = nnx.initializers.variance_scaling(gain**2, "fan_in", "normal")
        pairs = itertools.pairwise([64] + [WIDTH] * DEPTH)
        self.layers = nnx.List([nnx.Linear(n, m, kernel_init=scaled, rngs=rngs) for n, m in pairs])
        self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(DEPTH * normalized)])
        self.out = nnx.Linear(WIDTH, 10, rngs=rngs)
        self.activation, self.residual = activation, residual

    def __call__(self, x):
        for i, layer in enumerate(self.layers):
            h = layer(x)
            h = self.activation(self.norms[i](h) if len(self.norms) else h)
            x = x + h if self.residual and i else h
        return self.out(x)


def fit(tx, model):
    """Train, and return the parameters at the end, the statistics of every step, and the names of the leaves."""
    graph, start = nnx.split(model)

    def loss_of(params, batch):
        x, y = batch
        return losses.softmax_cross_entropy_with_integer_labels(nnx.merge(graph, params)(x), y).mean()

    def step(carry, key):
        params, state = carry
        chosen = jax.random.randint(key, (64,), 0, 1437)
        value, gradients = jax.value_and_grad(loss_of)(params, jax.tree.map(lambda x: x[chosen], train))
        updates, state = tx.update(gradients, state, params)
        seen = diagnose.step_statistics(gradients, updates, params, value)
        return (gradx.apply_updates(params, updates), state), seen

    @jax.jit
    def run(tx, params):
        return jax.lax.scan(step, (params, tx.init(params)), jax.random.split(jax.random.key(0), STEPS))

    (params, _), history = run(tx, start)
    right = jnp.mean(jnp.argmax(nnx.merge(graph, params)(test[0]), axis=-1) == test[1])
    return float(right), history, gradx.tree.paths(start)


def of_kernels(history, names):
    """Return the gradient norms [steps, layers] of the kernels from the first layer to the last, and their names."""
    kernels = [f"layers/{i}/kernel" for i in range(DEPTH)] + ["out/kernel"]
    return np.asarray(history.gradient_norm)[:, [names.index(name) for name in kernels]], kernels


# %% [markdown]
# ## Healthy
#
# With tanh and a gain of 1 all layers start with gradients of about the same norm and stay within a factor of
# thirteen, and `explain` has nothing to say:

# %%
accuracy, history, names = fit(gradx.sgd(0.1), Deep(nnx.tanh))
print(f"test accuracy {accuracy:.1%}; findings: {diagnose.explain(history, names)}")
viz.layer_heat_map(*of_kernels(history, names), title="tanh", label="gradient norm")

# %% [markdown]
# ## Vanishing
#
# The slope of a sigmoid is at most a quarter. Ten of them leave nothing for the first layer:

# %%
accuracy, history, names = fit(gradx.sgd(0.1), Deep(nnx.sigmoid))
print(f"test accuracy {accuracy:.1%}")
for finding in diagnose.explain(history, names):
    print("-", finding)
viz.layer_heat_map(*of_kernels(history, names), title="sigmoid", label="gradient norm")

# %% [markdown]
# ## Exploding
#
# Tanh again, with initial weights six times as large. The gradient grows from layer to layer on its way back. Plain
# descent throws the weights away with its first steps. What is left is a network most of whose tanhs are saturated, and
# the gradients of its first layers leap and vanish by turns:

# %%
accuracy, history, names = fit(gradx.sgd(0.1), Deep(nnx.tanh, gain=6.0))
print(f"test accuracy {accuracy:.1%}")
for finding in diagnose.explain(history, names):
    print("-", finding)
norms, kernels = of_kernels(history, names)
print(f"gradient norm of the first layer: {', '.join(f'{x:.2g}' for x in norms[:6, 0])}, ...")
viz.layer_heat_map(norms, kernels, title="tanh, weights six times as large", label="gradient norm")

# %% [markdown]
# ## What cures
#
# "first/last" is the norm of the gradient in the first layer over that in the last hidden one, at the first step.

# %%
CASES = {
    "tanh": (gradx.sgd(0.1), Deep(nnx.tanh)),
    "sigmoid": (gradx.sgd(0.1), Deep(nnx.sigmoid)),
    "sigmoid, Adam": (gradx.adam(3e-3), Deep(nnx.sigmoid)),
    "sigmoid, normalization": (gradx.sgd(0.1), Deep(nnx.sigmoid, normalized=True)),
    "sigmoid, residual": (gradx.sgd(0.1), Deep(nnx.sigmoid, residual=True)),
    "sigmoid, both": (gradx.sgd(0.1), Deep(nnx.sigmoid, normalized=True, residual=True)),
    "large tanh": (gradx.sgd(0.1), Deep(nnx.tanh, 6.0)),
    "large tanh, Adam": (gradx.adam(3e-3), Deep(nnx.tanh, 6.0)),
    "large tanh, clip": (gradx.chain(gradx.clip_by_global_norm(1.0), gradx.sgd(0.1)), Deep(nnx.tanh, 6.0)),
    "large tanh, normalization": (gradx.sgd(0.1), Deep(nnx.tanh, 6.0, normalized=True)),
    "large tanh, both": (gradx.sgd(0.1), Deep(nnx.tanh, 6.0, normalized=True, residual=True)),
}
print(f"{'':<26} first/last  accuracy  findings")
for name, (tx, model) in CASES.items():
    accuracy, history, names = fit(tx, model)
    norms, _ = of_kernels(history, names)
    kinds = ", ".join(finding.kind for finding in diagnose.explain(history, names))
    print(f"{name:<26} {norms[0, 0] / norms[0, -2]:10.2g}  {accuracy:8.1%}  {kinds or 'none'}")

# %% [markdown]
# Adam and the clip change the length of steps, not how the gradient comes about, and neither mends a network that is
# broken from the start. Residual connections give the gradient a way around the layers. Normalization undoes the large
# weights; behind a normalization a sigmoid's slope is still a quarter at most, and alone it does not help there.
# Together they do in both cases. Best of all is a start at which nothing has to be cured.

# %% [markdown]
# ## Through time
#
# A recurrent network is as deep as its text is long, and all its layers share one matrix. Here a plain one reads the 64
# pixels of a digit one after the other, $h \leftarrow \tanh(W h + u x + b)$, with $W$ a random rotation times a gain.
# How large is the derivative of the loss by the hidden state at each place?

# %%
UNITS = 64


def cell(key, gain):
    """Return the parameters of a recurrent network."""
    rotation, pixel, out = jax.random.split(key, 3)
    return {
        "cell": {
            "kernel": gain * jax.random.orthogonal(rotation, UNITS),
            "pixel": jax.random.normal(pixel, (UNITS,)),
            "bias": jnp.zeros(UNITS),
        },
        "out": {"kernel": jax.random.normal(out, (UNITS, 10)) / UNITS**0.5, "bias": jnp.zeros(10)},
    }


def loss_through_time(params, batch, nudges):
    """Return the loss, `nudges` [64, units] being added to the hidden states: the derivatives by them are wanted."""
    x, y = batch

    def read(h, now):
        pixel, nudge = now
        pre = h @ params["cell"]["kernel"] + pixel[:, None] * params["cell"]["pixel"] + params["cell"]["bias"]
        return jnp.tanh(pre) + nudge, None

    h, _ = jax.lax.scan(read, jnp.zeros((len(x), UNITS)), (x.T, nudges))
    logits = h @ params["out"]["kernel"] + params["out"]["bias"]
    return losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()


first_hundred = jax.tree.map(lambda x: x[:100], train)
reach = {}
for gain in (0.8, 1.0, 1.5, 2.0):
    slopes = jax.grad(loss_through_time, argnums=2)(
        cell(jax.random.key(0), gain), first_hundred, jnp.zeros((64, UNITS))
    )
    reach[f"gain {gain}"] = np.linalg.norm(slopes, axis=-1)
viz.training_curves(reach, title="norm of the derivative by the hidden state", xlabel="pixels read", log=True)

# %% [markdown]
# From the last pixel back to the first: with a gain of 0.8 nothing is left, and even a rotation, gain 1, loses almost
# all, for tanh flattens at each pixel. With 1.5 the two happen to balance; with 2 the first pixels rule. There is no
# healthy gain for all lengths, which is why gated units, the `recurrent` task of the races, are used instead.
#
# ## Clipping
#
# Where gradients explode now and then, one step undoes hundreds. Clipping their norm bounds the harm and leaves the
# ordinary steps alone. Six learning rates, four seeds, one program for each of the two:


# %%
def fit_through_time(tx, key, gain=1.2, steps=300):
    """Return the test loss at the end, and the largest gradient norm on the way."""
    make, draw = jax.random.split(key)
    still = jnp.zeros((64, UNITS))
    params = cell(make, gain)

    def step(carry, key):
        params, state = carry
        chosen = jax.random.randint(key, (64,), 0, 1437)
        gradients = jax.grad(loss_through_time)(params, jax.tree.map(lambda x: x[chosen], train), still)
        updates, state = tx.update(gradients, state, params)
        return (gradx.apply_updates(params, updates), state), gradx.tree.norm(gradients)

    (params, _), norms = jax.lax.scan(step, (params, tx.init(params)), jax.random.split(draw, steps))
    return loss_through_time(params, test, still), norms.max()


rates, ends = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0], {}
clipped = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.sgd(0.1))
for name, tx in {"as it is": gradx.sgd(0.1), "clipped to 1": clipped}.items():
    loss, largest = tune.sweep(tx, fit_through_time, {"learning_rate": rates}, seeds=4).results
    ends[name] = loss.T
    for rate, mean, norm in zip(rates, loss.mean(1), largest.max(1), strict=True):
        print(f"{name:<13} rate {rate:<6g} test loss {mean:5.2f}   largest gradient norm {norm:8.3g}")

# %%
figure = viz.training_curves(ends, rates, title="test loss; four seeds", xlabel="learning rate", log=True)
figure.axes[0].set(xscale="log", xlim=(rates[0], rates[-1]))
figure

# %% [markdown]
# With small rates the clip only slows things down. What it buys is room above: rates that ruin the network without it
# train it well, and the best of them ends no higher. Far enough up it fails too, for then a step of bounded length is
# too long. `recipes.recurrent` clips at 5, far above the ordinary norm: it is there for the explosions alone.
#
# **Exercise.** Try `Deep(nnx.relu, gain=1.0)` and `Deep(nnx.relu, gain=2**0.5)` with `sgd(0.1)`: look at the gradient
# norms of the first step, layer by layer. What you should see: in both they hardly differ between layers, but with a
# gain of 1 all are near 0.015, with the root of two near 0.6. ReLU drops half of what goes through it, so ten layers of
# gain 1 shrink the signal by a factor of $2^{10/2} = 32$; each layer alone looks healthy, and `explain`, which compares
# layers, finds nothing. After 400 steps the accuracy is 52 % and 85 %.
#
# Next: back to [which optimizer, for what](05_which_optimizer.ipynb), or to the races themselves in
# [benchmarks](../benchmarks/README.md).
