"""How far optimizers, building blocks and their peers are from the references along 50 steps.

A group of `benchmarks.deviations`; the runs are those of the tests, in `tests/oracles/optimizers_trajectory.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np

from tests.oracles import optimizers_trajectory as trajectory


@dataclass(frozen=True)
class TrajectoryRow:
    """The largest deviations of one optimizer along its trajectory; None without a peer of the same definition."""

    HEADINGS: ClassVar[tuple[str, ...]] = (
        "optimizer", "float64", "float32", "Optax, float32", "torch, float32", "from Optax", "from torch"
    )  # fmt: skip
    EXPLAINED: ClassVar[str] = f"""\
Each number is the largest distance of two trajectories of {trajectory.STEPS} steps on the same problem, over all steps
and entries, relative to the largest entry of the array along the second trajectory. The gradients depend on the
parameters and are noisy. The columns: gradx in float64 and in float32 from the float64 reference; Optax and torch in
float32 from the same reference; gradx from Optax and from torch, all in float32. Peers are left out where they define
the algorithm otherwise."""

    name: str
    float64: float
    float32: float
    optax: float | None
    """Of Optax in float32, from the reference."""
    torch: float | None
    float32_optax: float | None
    """Of gradx from Optax, both in float32."""
    float32_torch: float | None


def rows() -> list[TrajectoryRow]:
    """Optimizers and building blocks, along whole trajectories"""
    return [_measured(row) for row in trajectory.all_rows()]


def _measured(row: trajectory.Row) -> TrajectoryRow:
    reference = trajectory.run_reference(row)
    with jax.enable_x64(True):
        double = trajectory.deviation(trajectory.run_gradx(row, np.float64), reference)
    ours = trajectory.run_gradx(row, np.float32)
    paths = {
        "optax": row.optax and trajectory.run_optax(row, np.float32),
        "torch": row.torch and trajectory.run_torch(row),
    }
    return TrajectoryRow(
        name=row.name,
        float64=double,
        float32=trajectory.deviation(ours, reference),
        **{name: path and trajectory.deviation(path, reference) for name, path in paths.items()},
        **{f"float32_{name}": path and trajectory.deviation(ours, path) for name, path in paths.items()},
    )
