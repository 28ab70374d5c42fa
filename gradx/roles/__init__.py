"""Roles: what each parameter is for, and how it is a batch of matrices, told by its path and its shape.

`infer` decides for a whole tree; what it decides can be overridden leaf by leaf, and what it cannot tell is an error.
"""

from gradx.glossary import document_all
from gradx.matrices import Layout
from gradx.roles.inference import infer
from gradx.roles.labels import is_matrix, labels
from gradx.roles.role import KINDS, Role

__all__ = ["KINDS", "Layout", "Role", "infer", "is_matrix", "labels"]

__dir__ = document_all(globals(), __all__)
