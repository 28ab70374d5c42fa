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
# # Optimizers that know a matrix when they see one
#
# Adam treats a layer's kernel as so many separate numbers. Muon, Shampoo and SOAP look at it as what it is, a matrix
# with directions of its own. Here we look at the singular values of real gradients before and after, at who gets
# what, at the race on language, and at what it costs.
#
# **Goal**: know what orthogonalising does, and when it pays. **Time**: 20 minutes.

# %%
import sys

if "google.colab" in sys.modules:  # there only; upload the wheel, which `python -m build` makes, beside this notebook
    from IPython import get_ipython

    get_ipython().run_line_magic("pip", "install --quiet gradx-*.whl flax matplotlib mlxtend scikit-learn")

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx
from sklearn.datasets import load_digits

import gradx
from gradx import linalg, losses

# %matplotlib inline

# %% [markdown]
# ## What a gradient looks like from inside
#
# A perceptron on scanned digits, and the gradient of the kernel in its middle, 64 x 64, after some steps. A few
# directions hold nearly all of it: the tenth singular value is less than a hundredth of the first.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
train, test = (images[:1437], labels[:1437]), (images[1437:], labels[1437:])
STEPS = 200


class Net(nnx.Module):
    """Two hidden layers of 64."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first, self.middle = nnx.Linear(64, 64, rngs=rngs), nnx.Linear(64, 64, rngs=rngs)
        self.out = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.middle(nnx.relu(self.first(x)))))


graph, start = nnx.split(Net())


def loss_of(params, batch):
    x, y = batch
    return losses.softmax_cross_entropy_with_integer_labels(nnx.merge(graph, params)(x), y).mean()


def fit(tx):
    """Train, and return the parameters at the end with the test loss at every step."""

    def step(carry, key):
        params, state = carry
        chosen = jax.random.randint(key, (64,), 0, 1437)
        gradients = jax.grad(loss_of)(params, jax.tree.map(lambda x: x[chosen], train))
        updates, state = tx.update(gradients, state, params)
        params = gradx.apply_updates(params, updates)
        return (params, state), loss_of(params, test)

    keys = jax.random.split(jax.random.key(1), STEPS)
    (params, _), history = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), keys))(start)
    return params, history


params, _ = fit(gradx.adamw(3e-3))
gradient = jax.grad(loss_of)(params, jax.tree.map(lambda x: x[:64], train))
matrix = gradient["middle"]["kernel"][...]


def spectrum(x):
    """Return the singular values, the largest 1."""
    values = np.linalg.svd(np.asarray(x, np.float64), compute_uv=False)
    return values / values[0]


signs = jnp.sign(matrix)  # what Adam makes of one gradient alone
near = linalg.orthogonalize(matrix, "quintic")
nearer = linalg.orthogonalize(matrix, "polar_express")

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for name, x in {"gradient": matrix, "its signs": signs, "quintic, 5 steps": near, "Polar Express": nearer}.items():
    axes.semilogy(spectrum(x), ".-", label=name)
axes.set(xlabel="singular value, from the largest", ylabel="share of the largest", ylim=(1e-5, 2))
axes.legend()
plt.show()

# %% [markdown]
# Signs lift the small directions somewhat. The Newton-Schulz polynomials bring those above a thousandth or so to about
# 1, in five steps of a few products of matrices each; what is smaller is lifted some hundred times and stays small.
# Along all of the former the update moves the layer's output alike.
#
# ## The polynomial
#
# Each step sends a singular value s to a s + b s³ + c s⁵. Five steps of Jordan's quintic keep everything from
# 0.003 on within [0.68, 1.21]; Polar Express has other numbers at each step, and is nearer.

# %%
s = jnp.geomspace(1e-4, 1.0, 400)
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for name in ("quintic", "polar_express"):
    coefficients = linalg.COEFFICIENTS[name]
    x = s / coefficients.margin
    for i in range(5):
        a, b, c = coefficients.polynomials[min(i, len(coefficients.polynomials) - 1)]
        x = a * x + b * x**3 + c * x**5
    axes.semilogx(s, x, label=name)
axes.axhline(1.0, color="0.6", linewidth=0.8)
axes.set(xlabel="singular value before, its share of the norm", ylabel="after five steps")
axes.legend()
plt.show()

# %% [markdown]
# ## Who gets what
#
# Muon is for matrices inside the network. Embeddings, the head, scales and biases go to AdamW, with a rate of their
# own if you like. `gradx.roles.infer` tells them apart by name and shape, and refuses to guess; `describe` shows what
# each parameter gets. Here the head is the last of three layers.

# %%
muon = gradx.muon(0.02, shape_scaling="moonlight", muon_weight_dimension_numbers=gradx.roles.infer)
gradx.describe(muon, start)

# %% [markdown]
# ## Side by side
#
# Each optimizer with five constant rates on the digits above; the curve is that of the rate which ends lowest on it.

# %%
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
METHODS = {
    "SGD + momentum": lambda rate: gradx.sgd(rate, momentum=0.9),
    "AdamW": lambda rate: gradx.adamw(rate),
    "Muon": lambda rate: gradx.muon(rate, shape_scaling="moonlight", muon_weight_dimension_numbers=gradx.roles.infer),
    "SOAP": lambda rate: gradx.soap(rate, weight_dimension_numbers=gradx.roles.infer),
}

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for name, method in METHODS.items():
    runs = {rate: np.asarray(fit(method(rate))[1]) for rate in RATES}
    best = min(runs, key=lambda rate: np.nan_to_num(runs[rate][-20:].mean(), nan=np.inf))
    axes.semilogy(runs[best], label=f"{name}, {best:g}: {runs[best][-20:].mean():.3f}")
axes.set(xlabel="step", ylabel="test loss")
axes.legend()
plt.show()

# %% [markdown]
# With constant rates the two methods of matrices end lower. A falling rate does much of the same: in the race on this
# table, where all have one, Muon and AdamW are not told apart (`benchmarks/results/tabular`).
#
# ## The race
#
# A small Transformer on English prose, 800 steps, five seeds each, the best of five rates for every optimizer
# (`python -m benchmarks.race language`). How many steps until each has what AdamW has at its end:

# %%
race = Path("../benchmarks/results/language/pursuit.md")
race = race if race.exists() else Path("benchmarks/results/language/pursuit.md")
print(race.read_text())

# %% [markdown]
# ## What it costs, and when not to
#
# - A step of Muon takes some fifteen products of each matrix. That is little beside a forward pass over many tokens,
#   and much beside one over few: the tables of the races have the milliseconds. On images nothing is gained for it.
# - Vectors, embeddings and the head need another optimizer beside it; a rule that sends them to Muon trains worse.
# - SOAP and Shampoo keep two more matrices for each side of a matrix: for a square one three times Adam's memory.
# - Where nothing was measured, or nothing gained, take AdamW.
#
# ## Exercise
#
# Give `orthogonalize` the matrix `jnp.diag(jnp.array([1.0, 1e-2, 1e-4]))` with 5 and with 9 steps of each set. Which
# singular values come near 1, and why does the smallest not?
#
# <details><summary>Answer</summary>
#
# Five steps multiply a small singular value by 3.4445^5 = 485 at most (Polar Express: 970): 1e-4 becomes about 0.05 or
# 0.1. Nine steps take it there: each further one multiplies by 3.4 (2.3) until the band is reached.
#
# </details>
#
# **Next**: [compose your own](06_compose_your_own.ipynb), or `gradx.soap`, `gradx.shampoo`, `gradx.kron` with the same
# `weight_dimension_numbers`.
