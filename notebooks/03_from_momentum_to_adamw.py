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
# # From momentum to AdamW
#
# Five ideas lead from plain gradient descent to the optimizer that most networks are trained with. Each is a line or
# two of arithmetic. Here each formula stands beside its code, and each shows its way down a surface that plain
# descent finds hard.

# %%
import tempfile

import jax.numpy as jnp
import numpy as np
from IPython.display import Image

import gradx
from gradx import viz

# %matplotlib inline

# %% [markdown]
# ## The trouble: a ravine
#
# $f(x, y) = \tfrac12 (x^2 + 30 y^2)$ is thirty times steeper across than along. Descent $w \leftarrow w - \eta g$
# must keep $\eta$ below $2/30$, or it diverges across the valley; but then it crawls along it.

# %%
viz.trajectories(
    "ravine", {"sgd, 0.01": gradx.sgd(0.01), "sgd, 0.06": gradx.sgd(0.06), "sgd, 0.068": gradx.sgd(0.068)}, steps=30
)

# %% [markdown]
# ## Momentum: a heavy ball
#
# $$m \leftarrow \beta m + g, \qquad w \leftarrow w - \eta m$$
#
# Gradients that point the same way add up, to $1/(1-\beta)$ times one of them; those that change sign cancel
# (Polyak 1964). Nesterov's form looks ahead: it steps by $\beta m + g$ after the update of $m$.
#
# In gradx the building block is called `momentum`, and `sgd` is a recipe made of two parts:

# %%
print(gradx.sgd(0.02, momentum=0.9).expand())

gradient = jnp.array([1.0, -2.0])
ball = gradx.momentum(0.9)
state = ball.init(gradient)
by_hand = np.zeros(2)
for _ in range(3):
    update, state = ball.update(gradient, state)
    by_hand = 0.9 * by_hand + np.array([1.0, -2.0])
print(update, by_hand)

# %%
viz.trajectories(
    "ravine",
    {
        "sgd": gradx.sgd(0.02),
        "momentum": gradx.sgd(0.02, momentum=0.8),
        "nesterov": gradx.sgd(0.02, momentum=0.8, nesterov=True),
    },
    steps=40,
)

# %% [markdown]
# ## RMSProp: a step of its own for each parameter
#
# $$\nu \leftarrow \beta \nu + (1 - \beta) g^2, \qquad w \leftarrow w - \eta\, g / \sqrt{\nu + \varepsilon}$$
#
# Dividing by the typical size of the gradient makes steps of equal length along and across (Tieleman and Hinton 2012).
# The price: near the lowest point the steps do not get shorter by themselves.

# %%
scaled = gradx.scale_by_rms(decay=0.9)
state = scaled.init(gradient)
nu = np.zeros(2)
for _ in range(3):
    update, state = scaled.update(gradient, state)
    nu = 0.9 * nu + 0.1 * np.array([1.0, -2.0]) ** 2
print(update, np.array([1.0, -2.0]) / np.sqrt(nu + 1e-8))

# %% [markdown]
# ## Adam: both, and an honest start
#
# $$m \leftarrow \beta_1 m + (1-\beta_1) g, \qquad \nu \leftarrow \beta_2 \nu + (1-\beta_2) g^2$$
# $$w \leftarrow w - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{\nu / (1 - \beta_2^t)} + \varepsilon}$$
#
# Both averages start at zero, so they are too small at first; dividing by $1 - \beta^t$ mends that (Kingma and Ba
# 2014). The first step then has length $\eta$ in every coordinate, whatever the gradient's size:

# %%
first = gradx.scale_by_adam()
print(first.update(gradient, first.init(gradient))[0])
print(first.update(1000 * gradient, first.init(gradient))[0])

# %%
viz.trajectories(
    "ravine",
    {"momentum": gradx.sgd(0.02, momentum=0.8), "rmsprop": gradx.rmsprop(0.1), "adam": gradx.adam(0.3)},
    steps=60,
)

# %% [markdown]
# ## AdamW: decay that is not a gradient
#
# Weight decay pulls weights toward zero. Added to the gradient (L2 regularisation), Adam would divide it by
# $\sqrt{\nu}$, so that weights with large gradients would hardly decay. AdamW takes it out of the division
# (Loshchilov and Hutter 2017):
# $$w \leftarrow w - \eta\, (u_\mathrm{adam} + \lambda w)$$

# %%
print(gradx.adamw(1e-3, weight_decay=0.1).expand())

weights, zeros = {"w": jnp.array([1.0, 10.0])}, {"w": jnp.zeros(2)}
large = {"w": jnp.array([0.0, 100.0])}
inside = gradx.chain(gradx.add_decayed_weights(0.1), gradx.adam(0.01))
outside = gradx.adamw(0.01, weight_decay=0.1)
for name, tx in (("L2 inside Adam", inside), ("AdamW", outside)):
    state, w = tx.init(weights), weights
    for step in range(100):  # a gradient that changes sign: it moves nothing, it only fills the second moment
        sign = 1 if step % 2 else -1
        updates, state = tx.update({"w": sign * large["w"]}, state, w)
        w = gradx.apply_updates(w, updates)
    print(f"{name:<16} after 100 steps: {w['w']}")

# %% [markdown]
# The first weight has no gradient at all, the second a large one that averages to nothing. With AdamW both lose the
# same share. Inside Adam the decay of the first is *all* there is, and is scaled up to a full step each time; that
# of the second is drowned.
#
# ## A film
#
# Rosenbrock's valley is bent; its floor is nearly flat.

# %%
film = viz.animate_trajectories(
    "rosenbrock",
    {"sgd": gradx.sgd(1e-3), "momentum": gradx.sgd(3e-4, momentum=0.9), "adam": gradx.adam(0.05)},
    steps=240,
    every=10,
)
with tempfile.TemporaryDirectory() as folder:
    film.save(f"{folder}/valley.gif", writer="pillow", dpi=65)
    shown = Image(f"{folder}/valley.gif")
shown

# %%
viz.trajectories(
    "rosenbrock",
    {"sgd": gradx.sgd(1e-3), "momentum": gradx.sgd(3e-4, momentum=0.9), "adam": gradx.adam(0.05)},
    steps=240,
)

# %% [markdown]
# ## At a saddle
#
# Between two valleys the gradient vanishes, and plain descent waits. All start a thousandth beside the ridge.

# %%
viz.trajectories(
    "saddle",
    {"sgd": gradx.sgd(0.05), "momentum": gradx.sgd(0.05, momentum=0.9), "adam": gradx.adam(0.05)},
    steps=60,
)

# %% [markdown]
# ## The whole line of descent
#
# | idea | in gradx |
# |---|---|
# | step against the gradient | `sgd(learning_rate)` |
# | heavy ball | `sgd(learning_rate, momentum=0.9)` |
# | divide by the typical size | `rmsprop(learning_rate)` |
# | both, corrected for the start | `adam(learning_rate)` |
# | decay outside | `adamw(learning_rate, weight_decay=...)` |
#
# On a surface of two variables anything wins with the right rate; which one to take for a network is a question for
# measurements, not for pictures.
