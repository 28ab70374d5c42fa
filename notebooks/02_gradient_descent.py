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
# # Gradient descent: all examples, one, or a few
#
# Gradient descent walks downhill on the mean loss of the training set. **Batch** descent looks at all examples before
# each step, **stochastic** descent at one, **mini-batch** descent at a few. Here all three train the same model, a
# logistic regression on real measurements of 569 tumours, and we look at what each costs and what each gains: noise,
# time, memory.
#
# **Goal**: know what a batch size buys and what it costs. **Time**: 10 minutes.

# %%
import sys

if "google.colab" in sys.modules:  # there only; upload the wheel, which `python -m build` makes, beside this notebook
    from IPython import get_ipython

    get_ipython().run_line_magic("pip", "install --quiet gradx-*.whl flax matplotlib mlxtend scikit-learn")

# %%
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from sklearn.datasets import load_breast_cancer

import gradx
from gradx import losses, viz

# %matplotlib inline

# %% [markdown]
# ## Data and loss
#
# Thirty measurements of each tumour, brought to mean 0 and standard deviation 1, and whether it is benign. The loss is
# convex: there is one lowest value, and any sensible descent finds it.

# %%
features, labels = load_breast_cancer(return_X_y=True)
features = (features - features.mean(0)) / features.std(0)
order = np.random.default_rng(0).permutation(len(labels))
features, labels = jnp.asarray(features[order], jnp.float32), jnp.asarray(labels[order], jnp.float32)
train, test = (features[:448], labels[:448]), (features[448:], labels[448:])


def mean_loss(params, batch):
    x, y = batch
    logits = x @ params["weights"] + params["bias"]
    decay = 0.005 * jnp.sum(params["weights"] ** 2)  # keeps the lowest point at finite weights
    return losses.sigmoid_binary_cross_entropy(logits, y).mean() + decay


def accuracy(params, batch):
    x, y = batch
    return jnp.mean((x @ params["weights"] + params["bias"] > 0) == (y > 0.5))


start = {"weights": jnp.zeros(30), "bias": jnp.zeros(())}
print(f"loss at the start: {mean_loss(start, train):.3f}")

# %% [markdown]
# ## How large may a step be?
#
# On a quadratic with largest curvature $L$, gradient descent $w \leftarrow w - \eta \nabla f$ converges for
# $\eta < 2/L$ and fails above. The curvature of our loss is highest near the start; there
# $\eta = 1/L$ is a safe choice for the batch.

# %%
flat, unflatten = ravel_pytree(start)
hessian = jax.hessian(lambda w: mean_loss(unflatten(w), train))(flat)
largest = float(jnp.linalg.eigvalsh(hessian)[-1])
print(f"L = {largest:.2f}, so 1/L = {1 / largest:.2f}")

# %% [markdown]
# ## The same training, three sizes of batch
#
# Each sees every example 30 times. One compiled program runs all the steps of a training (`jax.lax.scan`); only the
# batch size differs, and the learning rate: a gradient of one example is so noisy that it needs smaller steps.

# %%
EPOCHS = 30


def batches(size, seed=0):
    """Return which examples are in each batch, int[steps, size]: every epoch is another permutation."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(np.concatenate([rng.permutation(448).reshape(-1, size) for _ in range(EPOCHS)]))


@jax.jit
def descend(tx, chosen):
    """Return the parameters at the end, and the loss on the whole training set after each step."""

    def step(carry, indices):
        params, state = carry
        gradients = jax.grad(mean_loss)(params, jax.tree.map(lambda x: x[indices], train))
        updates, state = tx.update(gradients, state, params)
        params = gradx.apply_updates(params, updates)
        return (params, state), mean_loss(params, train)

    (params, _), curve = jax.lax.scan(step, (start, tx.init(start)), chosen)
    return params, curve


runs = {
    "batch (448)": (448, gradx.sgd(1 / largest)),
    "mini-batch (32)": (32, gradx.sgd(0.1)),
    "stochastic (1)": (1, gradx.sgd(0.01)),
}
curves = {}
for name, (size, tx) in runs.items():
    params, curves[name] = descend(tx, batches(size))
    loss, right = curves[name][-1], accuracy(params, test)
    print(f"{name:<16} {len(curves[name]):>6} steps   training loss {loss:.4f}   test accuracy {right:.1%}")

# %% [markdown]
# After the same number of examples the small batches are far ahead *in training loss*: they took 14 and 448 times as
# many steps. The test accuracies say nothing against it and nothing for it: 121 examples are in the test set, and from
# 95.0 % to 96.7 % is two of them.

# %%
seen = np.arange(1, EPOCHS + 1)  # one point for each epoch
viz.training_curves(
    {name: np.asarray(curve).reshape(EPOCHS, -1)[:, -1] for name, curve in curves.items()},
    seen,
    title="loss on the whole training set, after each epoch",
    xlabel="epoch",
    log=True,
)

# %% [markdown]
# ## Noise
#
# Near the lowest point, the gradient of one example does not vanish though their mean does. The loss then goes up and
# down from step to step. How many steps went the wrong way?

# %%
lowest = float(descend(gradx.sgd(1 / largest), jnp.tile(jnp.arange(448), (20_000, 1)))[1][-1])
print(f"lowest loss, by 20,000 steps of batch descent: {lowest:.4f}")
for name, curve in curves.items():
    ups = np.mean(np.diff(curve) > 0)
    print(f"{name:<16} ends {curve[-1] - lowest:.4f} above the lowest; {ups:.0%} of its steps went up")

# %% [markdown]
# ## A learning rate that falls
#
# With a constant rate there is a choice of evils: a large one goes on bouncing at some height above the lowest loss, a
# small one is quieter, but has not arrived yet. A rate that falls has both: it is fast first and quiet last. In gradx a
# schedule stands wherever a number may.

# %%
steps = 448 * EPOCHS
rates = {
    "constant 0.03": gradx.sgd(0.03),
    "constant 0.003": gradx.sgd(0.003),
    "0.03, falling to 0": gradx.sgd(gradx.cosine_decay_schedule(0.03, steps)),
}
settled = {name: descend(tx, batches(1))[1] for name, tx in rates.items()}
for name, curve in settled.items():
    print(f"{name:<20} ends {curve[-1] - lowest:.5f} above the lowest loss")
viz.training_curves(
    {name: np.asarray(curve).reshape(EPOCHS, -1)[:, -1] - lowest for name, curve in settled.items()},
    seen,
    title="loss above the lowest, after each epoch of stochastic descent",
    xlabel="epoch",
    log=True,
)

# %% [markdown]
# ## Time and memory
#
# A step on a large batch costs more, but less for each example: the arithmetic runs side by side. Memory grows with the
# batch. XLA says how much a compiled step needs beside its inputs; the time is that of the machine that made this page.


# %%
def cost(size):
    """Return microseconds for each step, and the temporary bytes of one."""

    @jax.jit
    def step(params, batch):
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(mean_loss)(params, batch))

    batch = jax.tree.map(lambda x: jnp.tile(x, (100,) + (1,) * (x.ndim - 1))[:size], train)
    temporary = step.lower(start, batch).compile().memory_analysis().temp_size_in_bytes
    params, times = step(start, batch), []
    for _ in range(20):  # the shortest of twenty: whatever else the machine does only adds
        began = time.perf_counter()
        for _ in range(50):
            params = step(params, batch)
        jax.block_until_ready(params)
        times.append((time.perf_counter() - began) / 50)
    return min(times) * 1e6, temporary


for size in (1, 32, 448, 44_800):
    microseconds, temporary = cost(size)
    each = microseconds / size
    print(f"batch of {size:>6}: {microseconds:6.0f} us a step, {each:8.4f} us an example, {temporary:>8} bytes")

# %% [markdown]
# That is the reason for mini-batches: 32 examples cost a few times as much as one at most, not 32 times, and their mean
# has less than a fifth of the noise. The larger the data, the more so; nobody looks at all of a billion examples before
# the first step.
#
# **Exercise.** Add batches of 8 with a learning rate of 0.05 to `runs`. Where will their curve lie? What you should
# see: between those of 32 and of 1, and after 30 epochs on the latter.
#
# Next: [from momentum to AdamW](03_from_momentum_to_adamw.ipynb), on what to do with a gradient once it is there.
