"""Optimizers for kinds of work: the compositions that did best in the races of `benchmarks/`, or as well, ready to use.

`benchmarks/results/README.md` has what each reached beside the best of its race.

>>> from gradx import recipes
>>> tx = recipes.language(steps=1000)
>>> print(tx)
language(steps=1000)
"""

from gradx.recipes.compositions import control as control
from gradx.recipes.compositions import gan as gan
from gradx.recipes.compositions import general as general
from gradx.recipes.compositions import images as images
from gradx.recipes.compositions import language as language
from gradx.recipes.compositions import recurrent as recurrent
from gradx.recipes.compositions import stream as stream
from gradx.recipes.roles import kernels as kernels
from gradx.recipes.suggestions import suggest as suggest
from gradx.recipes.suggestions import table as table
