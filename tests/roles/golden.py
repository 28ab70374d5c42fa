"""The roles of whole networks as kept texts: `python -m tests.roles.golden` writes them anew.

Read each difference as a reviewer: is it what somebody who knows the network would say?
"""

from pathlib import Path

from gradx.description.table import axes
from gradx.roles.inference import decide, leaves_of
from gradx.roles.kernels import Undecided
from tests.roles import models_linen, models_nnx, models_plain

MODELS = models_linen.MODELS | models_nnx.MODELS | models_plain.MODELS
FOLDER = Path(__file__).parent.parent / "golden" / "roles"


def table(params) -> str:
    """Return one line for each leaf: path, shape, kind, what its axes are, and how many matrices of which size."""
    rows = []
    for leaf, role in zip(leaves_of(params), decide(params), strict=True):
        shape = str(leaf.shape).replace(" ", "")
        if isinstance(role, Undecided):
            rows.append((leaf.path, shape, "?", role.reason, ""))
        elif role.layout is None:
            rows.append((leaf.path, shape, role.kind, "", ""))
        else:
            inputs, outputs = role.layout.fans(leaf.shape)
            matrices = f"{role.layout.count(leaf.shape)} of {inputs} x {outputs}"
            rows.append((leaf.path, shape, role.kind, axes(role.layout, len(leaf.shape)), matrices))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(x.ljust(width) for x, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name, params in MODELS.items():
        (FOLDER / f"{name}.txt").write_text(table(params()))
    print(f"{len(MODELS)} tables in {FOLDER}")
