"""A float64 NumPy reference of descent in subspaces, from the paper, and the rows that compare it."""

import numpy as np

import gradx
from tests.oracles.optimizers import MASK, adam_direction
from tests.oracles.optimizers_trajectory import Leafwise, Row


def gradient_itself(t, g, p, memory):
    """The gradient itself."""
    return g


def galore(
    t,
    g,
    p,
    memory,
    *,
    learning_rate,
    rank,
    update_proj_gap,
    scale=1.0,
    weight_decay=0.0,
    mask=True,
    plain=False,
):
    """Zhao et al. 2024, Algorithm 2, on the longer side; arrays that are no matrices are left to the inner one."""
    own, inner = memory.setdefault("inner", {}), gradient_itself if plain else adam_direction
    decay = weight_decay * p if mask else 0.0
    if np.ndim(g) != 2:
        return -learning_rate * (inner(t, g, p, own) + decay)
    if (t - 1) % update_proj_gap == 0:
        u, _, vh = np.linalg.svd(g, full_matrices=False)
        memory["p"] = u[:, :rank] if g.shape[0] >= g.shape[1] else vh[:rank].T
    basis = memory["p"]
    if g.shape[0] >= g.shape[1]:
        full = basis @ inner(t, basis.T @ g, None, own)
    else:
        full = inner(t, g @ basis, None, own) @ basis.T
    return -learning_rate * (scale * full + decay)


ADAM = {"learning_rate": 0.02, "rank": 2, "update_proj_gap": 60, "scale": 0.5, "weight_decay": 0.2, "mask": MASK}
PLAIN = {"learning_rate": 0.1, "rank": 1, "update_proj_gap": 3, "scale": 0.7}
"""Without a memory inside nothing feels the signs of singular vectors, which are anyone's choice."""


def optax_galore(optax):
    """Return Optax's galore."""
    from optax import contrib

    return contrib.galore(**ADAM)


TRAJECTORIES: list[Row] = [
    Row(
        "galore",
        ours=lambda: gradx.galore(**ADAM),
        reference=lambda **changes: Leafwise(galore, **(ADAM | changes)),
        optax=optax_galore,
        hyper={name: x for name, x in ADAM.items() if name != "mask"},
    ),
    Row(
        "scale_by_galore",
        ours=lambda: gradx.chain(gradx.scale_by_galore(1, 3, 0.7, gradx.identity()), gradx.sgd(0.1)),
        reference=lambda **changes: Leafwise(galore, plain=True, **(PLAIN | changes)),
        hyper={"scale": 0.7},
    ),
]
