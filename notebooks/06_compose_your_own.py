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
# # Compose your own
#
# An optimizer is a chain of small steps from a gradient to an update. Here we make new ones in three ways, from a line
# to a whole algorithm, and let the contract check say whether they behave.
#
# **Goal**: write a transformation that works wherever gradx's own do. **Time**: 15 minutes.

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
from gradx import losses, testing, viz

# %matplotlib inline

# %% [markdown]
# ## One: a recipe made of others
#
# `chain` passes the gradient from part to part; the last one scales by minus the learning rate. With `@transformation`
# a recipe becomes a value of its own: it prints as it was called, compares, and its numbers are leaves of a pytree.


# %%
@gradx.transformation
def steady_adam(learning_rate, max_norm=1.0, weight_decay=1e-3):
    """AdamW behind a clip, with decay for matrices alone."""
    return gradx.chain(
        gradx.clip_by_global_norm(max_norm),
        gradx.scale_by_adam(),
        gradx.add_decayed_weights(weight_decay, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)),
        gradx.scale_by_learning_rate(learning_rate),
    )


tx = steady_adam(0.01, max_norm=0.5)
print(tx, tx == steady_adam(0.01, max_norm=0.5), jax.tree.leaves(tx))

# %% [markdown]
# Any of its numbers may be a schedule, and what they are now can be read:

# %%
scheduled = steady_adam(gradx.linear_schedule(0.0, 0.01, 100))
state = scheduled.init(jnp.ones((2, 2)))
for _ in range(50):
    _, state = scheduled.update(jnp.ones((2, 2)), state, jnp.ones((2, 2)))
print({name: round(float(x), 4) for name, x in gradx.hyperparams(scheduled, state).items()})
print(gradx.replace(tx, learning_rate=0.03))

# %% [markdown]
# ## Two: a function of the update alone
#
# A step that keeps nothing is a function. Signs in place of numbers (Bernstein et al. 2018, arXiv:1802.04434):

# %%
signs = gradx.stateless(lambda updates, params: jax.tree.map(jnp.sign, updates))
signum = gradx.chain(gradx.momentum(0.9), signs, gradx.scale_by_learning_rate(1e-3))
print(signum.update({"w": jnp.array([0.3, -20.0])}, signum.init({"w": jnp.zeros(2)}))[0])

# %% [markdown]
# ## Three: a pair of functions with a state
#
# Lion (Chen et al. 2023, arXiv:2302.06675) keeps one momentum, and takes the sign of a mean that leans more towards the
# present gradient than the momentum does:
#
# $$c = \beta_1 m + (1 - \beta_1) g, \qquad w \leftarrow w - \eta\,(\operatorname{sign} c + \lambda w), \qquad
# m \leftarrow \beta_2 m + (1 - \beta_2) g$$
#
# `init` makes the state from the parameters, `update` goes from (update, state) to (update, state).
# `gradx.tree.map_leaves` runs the rule on every leaf, in float32 for low-precision gradients.


# %%
def lion_leaf(g, m, *, b1, b2):
    """Return the direction and the momentum of one leaf."""
    return jnp.sign(b1 * m + (1 - b1) * g), b2 * m + (1 - b2) * g


@gradx.transformation
def scale_by_lion(b1=0.9, b2=0.99):
    """Replace the gradient by Lion's direction."""

    def init(params):
        return gradx.tree.zeros_like(params)

    def update(updates, m):
        return gradx.tree.map_leaves(lion_leaf, updates, m, b1=b1, b2=b2)

    return init, update


@gradx.transformation
def lion(learning_rate, b1=0.9, b2=0.99, weight_decay=0.0):
    """Lion, with weight decay that the gradient does not see."""
    return gradx.chain(
        scale_by_lion(b1, b2),
        gradx.add_decayed_weights(weight_decay),
        gradx.scale_by_learning_rate(learning_rate),
    )


# %% [markdown]
# Against the formulas, in NumPy and float64:

# %%
rng = np.random.default_rng(0)
w, m, gradients = rng.normal(size=5), np.zeros(5), rng.normal(size=(20, 5))
params = jnp.asarray(w, jnp.float32)
tx = lion(0.1, weight_decay=0.01)
state = tx.init(params)
for g in gradients:
    w = w - 0.1 * (np.sign(0.9 * m + 0.1 * g) + 0.01 * w)
    m = 0.99 * m + 0.01 * g
    updates, state = tx.update(jnp.asarray(g, jnp.float32), state, params)
    params = gradx.apply_updates(params, updates)
print(f"largest difference after 20 steps: {np.max(np.abs(w - np.asarray(params))):.1e}")

# %% [markdown]
# ## Does it behave?
#
# `gradx.testing.check_transform` runs a contract over it: the same result under `jit`, `scan` and `vmap`, one trace, no
# change of structure or dtype, float32 arithmetic for bfloat16, derivatives, donation, sharding and more.

# %%
print(f"{len(testing.CONTRACT)} clauses: {', '.join(testing.CONTRACT)}")
testing.check_transform(lion(1e-3))
testing.check_transform(steady_adam(0.01))
print("both keep the contract")

# %% [markdown]
# And one that does not: it counts its steps in Python, where `jit` does not see it.


# %%
@gradx.transformation
def forgetful(learning_rate=0.1):
    """Halve the update after the first three steps, or so it seems."""
    seen = []

    def init(params):
        seen.clear()
        return ()

    def update(updates, state):
        seen.append(1)
        factor = learning_rate if len(seen) <= 3 else learning_rate / 2
        return jax.tree.map(lambda u: -factor * u, updates), state

    return init, update


for name, clause in testing.CONTRACT.items():
    try:
        clause(testing.Subject(forgetful()))
    except Exception as broken:
        print(f"{name}: {str(broken).strip().splitlines()[0]}")

# %% [markdown]
# `jit` and `scan` trace `update` once: however many steps follow, the list has grown by one, and the rate is never
# halved. And the list is shared by all who call, so that clauses about other things trip over it too.
#
# ## Other parts, other rules
#
# `partition` gives each leaf the transformation of its label; labels come from the leaf's path. Here the first layer is
# frozen, the last has Lion, and biases have plain descent.


# %%
def label(params):
    def of(name, _):
        return "frozen" if name.startswith("layers/0/") else "bias" if name.endswith("bias") else "kernel"

    return gradx.tree.map_with_path(of, params)


mixed = gradx.partition({"frozen": gradx.set_to_zero(), "bias": gradx.sgd(0.1), "kernel": lion(1e-3)}, label)

# %% [markdown]
# ## Real work
#
# All of them on the 1,797 scanned digits, with flax's optimizer, which takes them like any other:

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order])
train, test = (images[:1437], labels[:1437]), (images[1437:], labels[1437:])
STEPS = 300
batches = jnp.asarray(np.random.default_rng(0).integers(0, 1437, (STEPS, 64)))


def loss_of(model, x, y):
    return losses.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


@nnx.jit
def step(model, optimizer, x, y):
    loss, gradients = nnx.value_and_grad(loss_of)(model, x, y)
    optimizer.update(model, gradients)
    return loss


curves = {}
optimizers = {"steady_adam": steady_adam(0.01), "signum": signum, "lion": lion(1e-3, weight_decay=0.01), "mixed": mixed}
for name, tx in optimizers.items():
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Linear(64, 64, rngs=rngs), nnx.relu, nnx.Linear(64, 10, rngs=rngs))
    before = model.layers[0].kernel[...]
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    curves[name] = [float(step(model, optimizer, train[0][i], train[1][i])) for i in batches]
    accuracy = float(jnp.mean(jnp.argmax(model(test[0]), axis=-1) == test[1]))
    moved = float(jnp.abs(model.layers[0].kernel[...] - before).max())
    print(f"{name:<12} test accuracy {accuracy:.1%}; the first layer moved by at most {moved:.2g}")
smooth = {name: np.asarray(curve).reshape(-1, 10).mean(1) for name, curve in curves.items()}
viz.training_curves(smooth, np.arange(10, STEPS + 1, 10), title="training loss, means of ten batches", log=True)

# %% [markdown]
# With a first layer frozen at random features the rest still learns most of the digits. The curves are no race: these
# rates are guesses, and tuning them is the matter of the next notebook.
#
# **Exercise.** Mend `forgetful`: let `init` return the count, `jnp.zeros((), jnp.int32)`, and `update` add one to it;
# `jnp.where` chooses the factor. What you should see: the loop over the clauses prints nothing.
#
# Next: [sweeps and hypergradients](07_sweeps_and_hypergradients.ipynb), on how to tune any of these in one program.
