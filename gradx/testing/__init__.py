"""The contract of a gradient transformation, to be run over anybody's.

`check_transform(tx)` runs every clause of `CONTRACT` and raises AssertionError with all that fail. A clause is a
function of a `Subject`; test suites that want one test a clause parametrize over `CONTRACT`.
"""

from typing import Any

from gradx import glossary
from gradx.testing.clauses import CONTRACT
from gradx.testing.subject import Subject, assert_close as assert_close, assert_finite as assert_finite, example_params
from gradx.typing import Params


def check_transform(
    tx: Any, params: Params | None = None, *, extras: dict[str, Any] | None = None, skip: tuple = ()
) -> None:
    """Run the contract over a transformation: gradx's, Optax's, or any `(init, update)` pair with these two attributes.

    Args:
      params: parameters that suit it; by default a matrix, a vector and a scalar in float32.
      extras: the keyword arguments that its update needs.
      skip: clauses that do not apply, by name; see `CONTRACT`.

    Raises AssertionError that lists every broken clause and why.

    >>> import gradx
    >>> from gradx.testing import check_transform
    >>> check_transform(gradx.sgd(0.1), skip=("sharding",))
    """
    if unknown := sorted(set(skip) - CONTRACT.keys()):
        raise ValueError(f"check_transform: no clause {unknown[0]!r}; there are {', '.join(CONTRACT)}")
    subject = Subject(tx, example_params() if params is None else params, extras or {})
    broken = []
    for name, clause in CONTRACT.items():
        if name in skip:
            continue
        try:
            clause(subject)
        except Exception as error:  # all of them are reported together
            broken.append(f"{name}: {type(error).__name__}: {error}")
    if broken:
        raise AssertionError(f"{tx!r} breaks {len(broken)} of {len(CONTRACT)} clauses:\n" + "\n".join(broken))


__all__ = ["CONTRACT", "Subject", "check_transform", "example_params"]

__dir__ = glossary.document_all(globals(), __all__)
