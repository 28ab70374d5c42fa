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
# # The course, claim by claim
#
# "Momentum accelerates and damps." "Adam needs little tuning." "AdamW generalizes better." A course says such things in
# a sentence each. Here each is measured: five seeds, differences seed by seed, and one rule for yes and no. Some hold,
# some do not here, some cannot be told apart from chance.
#
# **Goal**: know which sentences of the course a measurement backs, and how to test the next one. **Time**: 20 minutes.
#
# It uses the programs and results of the clone (`benchmarks`), which are no part of the installed package.

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
from scipy import stats

ROOT = next(folder for folder in Path.cwd().parents if (folder / "benchmarks" / "results").is_dir())
sys.path.insert(0, str(ROOT))  # the claims are no part of the package: they are found in the clone

from benchmarks import claims
from benchmarks.course import momentum
from benchmarks.course.claim import RULE, VERDICTS, Setup
from benchmarks.results import markdown_table
from gradx import viz

# %matplotlib inline

# %% [markdown]
# ## What was found
#
# `python -m benchmarks.claims` measures all of it in less than ten minutes. What follows is read from what it left.

# %%
kept = claims.read(ROOT / "benchmarks" / "results" / "claims" / claims.KEPT)
every = [claim for group in kept.values() for claim in group.claims]
rows = [[verdict, str(sum(claim.verdict == verdict for claim in every))] for verdict in VERDICTS]
Markdown(markdown_table(["verdict", "claims"], rows))

# %%
Markdown(markdown_table(["what is said", "verdict"], [[claim.said, claim.verdict] for claim in every]))

# %% [markdown]
# ## The rule
#
# One rule says both "holds" and "does not hold here", so that it cannot lean to either side.

# %%
Markdown(RULE)

# %% [markdown]
# ## A claim, measured here and now
#
# A claim is a function: it trains, and returns what the claim favours beside what it is compared with, one value for
# each seed. This one says that momentum damps the oscillations across a ravine, and gives both the same *effective*
# rate, the rate over $1 - \beta$:

# %%
seeds = Setup(seeds=(0, 1, 2, 3, 4))
claim, panels = momentum.damps_at_the_same_effective_rate(seeds)
print(claim.said, "->", claim.verdict)
for contrast in claim.contrasts:
    print(f"{contrast.quantity}: {contrast.favoured} {contrast.mine}, {contrast.other} {contrast.theirs}")
viz.training_curves(panels[0].lines, panels[0].x["sgd"], title="the place across the ravine")

# %% [markdown]
# The same sentence with the same rate for both, which is how it is often told:

# %%
claim, panels = momentum.damps_at_the_same_rate(seeds)
print(claim.said, "->", claim.verdict)
for contrast in claim.contrasts:
    print(f"{contrast.quantity}: {contrast.favoured} {contrast.mine}, {contrast.other} {contrast.theirs}")
viz.training_curves(panels[0].lines, panels[0].x["sgd"], title="the place across the ravine")

# %% [markdown]
# By hand, for the way across: the difference of each seed, their mean, and half the 95 % interval by Student's t.

# %%
way = claim.contrasts[1]
differences = np.array(way.theirs) - np.array(way.mine)  # less is better: a plus speaks for momentum
half = stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / len(differences) ** 0.5
print(f"{differences.mean():+.2f} ± {half:.2f}, and by the rule {way.comparison.answer!r}")

# %% [markdown]
# ## The valley of good rates
#
# That Adam needs little tuning is often said without saying what that means. Here: how many decades of learning rates
# come within two points of the optimizer's best accuracy.

# %%
Image(ROOT / "benchmarks" / "results" / "claims" / "adam.png", width=900)

# %%
wide = kept["adam"].claims[0]
spread = [[x.other, f"{np.mean(x.theirs):.2f}", f"{np.mean(x.mine):.2f}", x.comparison.answer] for x in wide.contrasts]
Markdown(markdown_table(["against", "its decades", "Adam's", "is Adam's wider?"], spread))

# %% [markdown]
# ## Which optimizer for which task
#
# The rows of the table are read from the [races](../benchmarks/results/README.md). Each dot is a rival: to the right of
# the grey band the choice of the course is ahead by more than chance and the test set allow, to the left it is behind.

# %%
Image(ROOT / "benchmarks" / "results" / "claims" / "tasks.png", width=800)

# %% [markdown]
# ## What did not hold

# %%
Markdown("\n".join(f"- {claim.said} {claim.remark}" for claim in every if claim.verdict == "does not hold here"))

# %% [markdown]
# "Here" is a small network on scanned digits, some hundred steps, one processor. A claim about networks of a billion
# parameters is not refuted by that; it is a reason to ask where the claim was measured.
#
# ## Exercise
#
# "Nesterov's momentum is better than ordinary momentum." Measure it: a perceptron on digits, `nesterov=True` against
# without, the loss at the end, five seeds. What does the rule say?
#
# <details><summary>Answer</summary>
#
# ```python
# import gradx
# from benchmarks.course.claim import Contrast
# from benchmarks.course.training import perceptron, train
#
# ends = {}
# for name, nesterov in {"nesterov": True, "momentum": False}.items():
#     tx = gradx.sgd(0.1, momentum=0.9, nesterov=nesterov)
#     found = train(seeds, perceptron(), tx, {"learning_rate": [0.01, 0.03, 0.1]}, 300)
#     ends[name] = found.of("train loss", found.best("train loss"))[:, -1]
# contrast = Contrast("training loss", "nesterov", ends["nesterov"], "momentum", ends["momentum"])
# print(contrast.mine, contrast.theirs, contrast.comparison.answer)
# ```
#
# `yes` and `no` are the rule's words for better and worse. If it says `not told apart`, the sentence may still be
# true: then say how many seeds you would need to see a difference of the size that you found.
#
# </details>
#
# **Next**: the whole page with every figure, [claims.md](../benchmarks/results/claims/claims.md), or
# [which optimizer](05_which_optimizer.ipynb).
