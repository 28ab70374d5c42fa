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
# # Which optimizer, for what?
#
# Textbooks have an answer for every kind of work: momentum for images, AdamW for language, RMSProp for recurrent
# networks, Adam for reinforcement learning and, with a short memory, for adversaries. This page looks at what races on
# eight tasks with real data found. First a small race that runs here, then the kept results of the full ones.

# %%
from pathlib import Path

import numpy as np
from IPython.display import Image, Markdown

from benchmarks import report, tasks
from benchmarks.pictures import overview
from benchmarks.race import grid
from benchmarks.results import markdown_table
from benchmarks.training import Programs, Training
from gradx import recipes, viz

# %matplotlib inline

# %% [markdown]
# ## A race, here and now
#
# The table of scanned digits, a perceptron, 200 steps. Each optimizer first tries five learning rates on data held out
# of the training set, all five in one program; then it trains with the best one and four seeds, again in one. All have
# the same schedule, a warmup and a cosine.

# %%
task, STEPS = tasks.load("tabular"), 200
curves = {}
for name in ("sgd", "momentum", "rmsprop", "adam", "adamw"):
    rates = grid(task.learning_rates[name])
    make = task.roster[name]
    tuning = Training(
        Programs(task.learner(name, True)), [make(rate, STEPS) for rate in rates], [1000] * len(rates), STEPS
    )
    *_, ends = tuning.run(STEPS)
    best = rates[int(np.argmax([end.metric for end in ends]))]
    racing = Training(Programs(task.learner(name, False)), [make(best, STEPS)] * 4, range(4), STEPS)
    looks = list(racing.run(10))
    curves[name] = np.array([[point.metric for point in look] for look in looks]).T
    final = curves[name][:, -1]
    print(f"{name:<9} rate {best:<6g} test accuracy {final.mean():.1%} ({final.min():.1%} to {final.max():.1%})")
viz.training_curves(curves, np.arange(10, STEPS + 1, 10), title="test accuracy, four seeds", target=0.95)

# %% [markdown]
# ## The full races
#
# `python -m benchmarks.race all` runs them, with at least three seeds and the same grid of rates for everyone.
# What follows is read from the files it left in `benchmarks/results`. The verdict looks at the spread: "not told apart"
# means that the best seed of the textbook's choice is as good as the worst of the winner.

# %%
RESULTS = Path("benchmarks/results")
races = {race.task: race for race in report.found(RESULTS)}
Markdown(report.summary(list(races.values())))

# %% [markdown]
# Every dot is one training's end, every bar a mean, the thin line the target:

# %%
overview(list(races.values()))

# %% [markdown]
# ## What a schedule does
#
# `adam-constant` is Adam without the warmup and the cosine, with its own tuned rate. Beside Adam with them:

# %%
for name, race in races.items():
    if "adam-constant" in race.optimizers:
        show = race.metric.show
        print(
            f"{name:<10} {race.metric.name}: constant {show(race.mean('adam-constant'))}, "
            f"warmup and cosine {show(race.mean('adam'))}, with weight decay too {show(race.mean('adamw'))}"
        )

# %% [markdown]
# ## All examples, some, or one
#
# On the convex task a step is one pass over the training set. Time, noise and memory of the three kinds of descent:

# %%
convex = races["convex"]
Markdown(markdown_table(convex.headings(), convex.rows()))

# %% [markdown]
# A batch of all is quiet and slow to get anywhere; one example at a time gets there and costs ten times the time; a few
# at a time get there as well, in the time of the batch. What remains is noise, and a falling rate removes it.

# %% [markdown]
# ## Adversaries
#
# The Fréchet distance compares what a classifier sees in 1,000 generated and 1,000 real digits: 6 is as good as other
# real digits, 1,442 is uniform noise. What the generators of two optimizers draw:

# %%
gan = races["gan"]
for name in gan.optimizers:
    print(f"{name:<9} distance {gan.mean(name):6.1f}")

# %%
Image(RESULTS / "gan" / "adam-0.5.png", width=480)

# %%
Image(RESULTS / "gan" / "sgd.png", width=480)

# %% [markdown]
# ## Very large data
#
# The stream reads 31 MB of sources from disk, a few records at a time, and nine tenths of them in each training. Is the
# process larger at the end of the data than at the beginning? The optimizers trained in this order, in one process:

# %%
for run in races["stream"].runs:
    if run.seed == 0:
        sizes = [point.others["resident MB"] for point in run.points]
        tenth = max(1, len(sizes) // 10)
        first, last = np.mean(sizes[:tenth]), np.mean(sizes[-tenth:])
        print(f"{run.optimizer:<9} first tenth {first:6.1f} MB, last tenth {last:6.1f} MB: {last - first:+5.1f} MB")

# %% [markdown]
# The first training fills the pools from which memory is handed out, in a few leaps. All that follow read as much
# again, three seeds each, and the process does not grow: it holds the batches, and no data.

# %% [markdown]
# ## So which?
#
# `gradx.recipes` holds a composition for each kind of work, with its docstring saying which race backs it. Start with
# one, and let `gradx.tune` find the peak of the learning rate for your network.

# %%
tx = recipes.suggest("language")(steps=1000)
print(tx)
print(tx.expand())

# %% [markdown]
# These are small networks, minutes of training, and the rates of one grid. Differences inside the spread are none, and
# what wins here need not win on a hundred machines. The races are yours to run: a task is one file in
# `benchmarks/tasks`.
