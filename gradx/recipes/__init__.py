"""Optimizers for kinds of work: the compositions that did best in the races of `benchmarks/`, or as well, ready to use.

`benchmarks/results/README.md` has what each reached beside the best of its race.

>>> from gradx import recipes
>>> tx = recipes.language(steps=1000)
>>> print(tx)
language(steps=1000)
"""

from gradx.glossary import document_all
from gradx.recipes.compositions import control, gan, general, images, language, recurrent, stream
from gradx.recipes.roles import kernels
from gradx.recipes.suggestions import suggest, table

__all__ = ["control", "gan", "general", "images", "kernels", "language", "recurrent", "stream", "suggest", "table"]

__dir__ = document_all(globals(), __all__)
