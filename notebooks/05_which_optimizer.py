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
# Textbooks have an answer for every kind of work: AdamW or momentum for images, AdamW for language, RMSProp for
# recurrent networks, Adam for reinforcement learning and, with a short memory, for adversaries. This page looks at what
# races on eight tasks with real data found. First a small race that runs here, then the kept results of the full ones.
#
# **Goal**: know which of these answers a measurement backs, and how far. **Time**: 15 minutes.
#
# It uses the races of the clone (`benchmarks`), which are no part of the installed package.

# %%
import sys

if "google.colab" in sys.modules:  # there only; upload the wheel, which `python -m build` makes, beside this notebook
    from IPython import get_ipython

    get_ipython().run_line_magic("pip", "install --quiet gradx-*.whl flax matplotlib mlxtend scikit-learn")

# %%
import sys
from pathlib import Path

import numpy as np
from IPython.display import Image, Markdown

ROOT = next(folder for folder in Path.cwd().parents if (folder / "benchmarks" / "results").is_dir())
sys.path.insert(0, str(ROOT))  # the races are no part of the package: they are found in the clone

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
percent = {name: 100 * seeds for name, seeds in curves.items()}
figure = viz.training_curves(percent, np.arange(10, STEPS + 1, 10), title="test accuracy in %, four seeds", target=95)
figure.axes[0].set_ylim(80, 100)
figure

# %% [markdown]
# The axis begins at 80 %, and the bands go from the worst seed to the best. The test set has 360 examples: near 98 %
# its standard error is 0.7 points, so RMSProp, Adam and AdamW cannot be told apart from this picture.

# %% [markdown]
# ## The full races
#
# `python -m benchmarks.race all` runs them, with at least three seeds and the same grid of rates for everyone.
# What follows is read from the files it left in `benchmarks/results`. The verdict compares seed by seed. "yes" and "no"
# need a mean difference larger than its 95 % interval and than the error of the test set; all else is "not told apart".

# %%
RESULTS = ROOT / "benchmarks" / "results"
races = {race.task: race for race in report.found(RESULTS)}
Markdown(report.summary(list(races.values())))

# %% [markdown]
# Most rows are not told apart. With three seeds an interval is wide: momentum on the recurrent task has two seeds
# below RMSProp's and one that was lost, and its mean says nothing about any of them. Three seeds and small networks
# leave the textbook standing, and do not confirm it.
#
# Every dot is one training's end and every bar the median of its seeds; the dashed line is the target, the dotted one
# the best value that there is. Two seeds fell far behind, momentum's on the recurrent task and AdamW's on control:

# %%
overview(list(races.values()))

# %% [markdown]
# ## What a schedule does
#
# `adam-constant` is Adam without the warmup and the cosine, with its own tuned rate. Beside Adam with them: the mean,
# the lowest and the highest seed.

# %%
for name, race in races.items():
    if "adam-constant" in race.optimizers:
        print(f"{name}, {race.metric.name}")
        for label, of in {
            "constant": "adam-constant",
            "warmup and cosine": "adam",
            "and weight decay": "adamw",
        }.items():
            ends, show = race.ends(of), race.metric.show
            print(f"    {label:<18} {show(race.mean(of))} ({show(min(ends))} to {show(max(ends))})")

# %% [markdown]
# A schedule is no gain by itself. On the recurrent task, where less is better, each seed of the constant rate ended
# below each with the schedule; on the images its mean is higher, on the table lower. By the verdict's rule (the second
# table above) none of the three is told apart. Where a falling rate does win clearly is the convex task below: near a
# minimum noise is all that is left, and a smaller rate is what removes it.

# %% [markdown]
# ## All examples, some, or one
#
# On the convex task a step is one pass over the training set. Time, noise and memory of the three kinds of descent:

# %%
convex = races["convex"]
Markdown(markdown_table(convex.headings(), convex.rows()))

# %% [markdown]
# A batch of all is quiet and slow to get anywhere; one example at a time gets there and costs nine times the time of a
# few at a time, which get there as well. What remains is noise, and a falling rate removes it: the last row is the
# mini-batch again, with a cosine.

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
# Two things. *Within* a training the process does not grow, but for the first, which fills the pools from which memory
# is handed out: it reads 28 MB, and holds the batches and no data. *From one optimizer to the next* it does grow, by 17
# to 44 MB: each compiles programs of its own, and those of the ones before stay in the process.

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
#
# **Exercise.** Race `gradx.nadam` against the five above. It is not in the roster: with `warmup_cosine` from
# `benchmarks.roster` its `make` is `lambda rate, steps: gradx.nadam(warmup_cosine(rate, steps))`, and it may try Adam's
# rates. What you should see: an accuracy within the spread of Adam's.
#
# Next: [compose your own](06_compose_your_own.ipynb).
