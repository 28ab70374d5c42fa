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
#
# **Goal**: read the update rules of momentum, RMSProp, Adam and AdamW, and know what each does to a path. **Time**: 15
# minutes.
#
# In the pictures grey lines join points of equal height, stars are lowest points, and the number behind a name is the
# height at which that way ends: how far above (or, with a minus, below) zero the function still is.

# %%
import sys

if "google.colab" in sys.modules:  # there only; upload the wheel, which `python -m build` makes, beside this notebook
    from IPython import get_ipython

    get_ipython().run_line_magic("pip", "install --quiet gradx-*.whl flax matplotlib mlxtend scikit-learn")

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
rolling = {
    "sgd, 0.02": gradx.sgd(0.02),
    "sgd, 0.06": gradx.sgd(0.06),
    "momentum, 0.02": gradx.sgd(0.02, momentum=0.8),
    "nesterov, 0.02": gradx.sgd(0.02, momentum=0.8, nesterov=True),
}
ravine = viz.SURFACES["ravine"]
for name, tx in rolling.items():
    x, y = np.asarray(viz.descend(tx, ravine, steps=40)).T
    crossings = np.sum(np.sign(y[1:]) != np.sign(y[:-1]))
    print(f"{name:<15} crosses the floor of the valley {crossings:>2} times, and ends at x = {x[-1]:7.4f}")
viz.trajectories("ravine", rolling, steps=40)

# %% [markdown]
# It is often said that momentum prevents oscillations. Not here: plain descent at the same rate never crosses the
# valley, the ball crosses it eleven times and rolls past the end. What it prevents is the choice that plain descent
# has, between crawling (0.02) and bouncing at every step (0.06). The ball is far nearer to the end than either.

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

# %%
viz.trajectories("ravine", {"momentum": rolling["momentum, 0.02"], "rmsprop": gradx.rmsprop(0.1)}, steps=120)

# %% [markdown]
# It goes straight for the end, along and across at the same speed. Then comes the price: with a gradient ten times
# smaller the root of the average is soon ten times smaller too, so that steps of the old length come back, and it
# dances around the end for ever. See below for when. A learning rate that falls is the cure.

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
three = {"momentum": rolling["momentum, 0.02"], "rmsprop": gradx.rmsprop(0.1), "adam": gradx.adam(0.3)}
print(f"{'':<9} height after " + "".join(f"{step:>9}" for step in (40, 60, 80, 100, 120)))
for name, tx in three.items():
    way = viz.descend(tx, ravine, steps=120)
    print(f"{name:<22} " + "".join(f"{float(ravine.height(way[step])):9.2g}" for step in (40, 60, 80, 100, 120)))
viz.trajectories("ravine", three, steps=120)

# %% [markdown]
# RMSProp is as low as momentum at step 60, and thousands of times higher at 100. Adam comes last to the lowest point:
# its momentum carries it in a wide arc beyond the end. But it settles. Its $\nu$ remembers a thousand steps ($\beta_2 =
# 0.999$), the steep beginning among them, so that its steps do get shorter as the gradient does. On a surface this
# smooth plain momentum beats both; dividing by the size of the gradient pays where sizes differ between parameters by
# more than one rate can serve.

# %% [markdown]
# ## AdamW: decay that is not a gradient
#
# Weight decay pulls weights toward zero. Added to the gradient (L2 regularisation), Adam would divide it by
# $\sqrt{\nu}$, so that weights with large gradients would hardly decay. AdamW takes it out of the division
# (Loshchilov and Hutter 2017):
# $$w \leftarrow w - \eta\, (u_\mathrm{adam} + \lambda w)$$

# %%
print(gradx.adamw(1e-3, weight_decay=0.1).expand())

weights = {"w": jnp.array([1.0, 10.0])}
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
# same share, a tenth. Inside Adam the decay of the first is *all* there is, and is scaled up to nearly a full step each
# time, so that three quarters of it are gone; that of the second is drowned.
#
# ## A film
#
# Rosenbrock's valley is bent; its floor is nearly flat. Getting into it is easy, getting along it is not.

# %%
bent = {"sgd": gradx.sgd(3e-3), "momentum": gradx.sgd(1.5e-3, momentum=0.9), "adam": gradx.adam(0.3)}
film = viz.animate_trajectories("rosenbrock", bent, steps=500, every=40)
with tempfile.TemporaryDirectory() as folder:
    film.save(f"{folder}/valley.gif", writer="pillow", dpi=60)
    shown = Image(f"{folder}/valley.gif")
shown

# %%
valley = viz.SURFACES["rosenbrock"]
for rate in (0.002, 0.003, 0.0035, 0.004, 0.005):
    print(f"sgd, {rate:<6g} height {float(valley.height(viz.descend(gradx.sgd(rate), valley, steps=500)[-1])):.2g}")
viz.trajectories("rosenbrock", bent, steps=500)

# %% [markdown]
# Momentum and Adam arrive. Plain descent does not, whatever its rate: with 0.003 or less it is still on its way after
# 500 steps, with more the walls throw it from side to side.
#
# ## At a saddle
#
# Between two valleys the gradient vanishes, and plain descent waits. All start a thousandth beside the ridge. Where the
# surface is below zero the lines of equal height are dashed; at the two stars it is at -1.

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
#
# **Exercise.** Make the ravine a hundred times steeper across than along:
# `viz.Surface(lambda p: 0.5 * (p[0] ** 2 + 100 * p[1] ** 2), ravine.start, ravine.minima, ravine.window)`. Find a rate
# for `sgd`, then a rate and a momentum, that come below a height of 1e-4 in as few steps as you can. What you should
# see: plain descent needs hundreds of steps and a rate near 0.02, momentum some tens.
#
# Next: [the learning rate](04_learning_rate.ipynb), too high, too low, and how to find it.
