"""Rprop: each entry has a step size of its own, which grows while its gradient keeps its sign."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.scale import scale
from gradx.typing import Fraction, Params, Positive, PositiveReal, Updates


class ScaleByRpropState(NamedTuple):
    """The state of `scale_by_rprop`."""

    step_sizes: Updates
    """The size of the next step at each entry; like the parameters, at least float32."""
    prev_updates: Updates
    """The last step, 0 where the sign of the gradient had changed; like the parameters, at least float32."""


def rprop_leaf(g, step, previous, *, eta_minus, eta_plus, min_step_size, max_step_size):
    """Return (u, step, u): u = step · sign(g), and 0 where the sign is not that of the step before."""
    hyper = {"eta_minus": eta_minus, "eta_plus": eta_plus, "min_step_size": min_step_size}
    hyper["max_step_size"] = max_step_size
    if jnp.iscomplexobj(g):  # two numbers, each with its own sign and step
        parts = [
            rprop_leaf(*x, **hyper) for x in ((g.real, step.real, previous.real), (g.imag, step.imag, previous.imag))
        ]
        u, step, _ = (jax.lax.complex(real, imag) for real, imag in zip(*parts, strict=True))
        return u, step, u
    agreement = jnp.sign(g) * previous
    changed = jnp.clip(step * jnp.where(agreement > 0, eta_plus, eta_minus), min_step_size, max_step_size)
    step = jnp.where(agreement == 0, step, changed)
    u = jnp.where(agreement < 0, 0, step * jnp.sign(g))
    return u, step, u


@transformation
def scale_by_rprop(
    learning_rate: PositiveReal,
    eta_minus: Fraction = 0.5,
    eta_plus: Positive = 1.2,
    min_step_size: Positive = 1e-6,
    max_step_size: Positive = 50.0,
) -> Any:
    """Replace each entry by a step of its own size: u = step · sign(g).

    The size is multiplied by eta_plus where the sign is that of the step before; by eta_minus where it is not, and
    there u = 0, once. Of complex entries each part has its step. (Optax returns the step before, 0 at first.)

    Args:
      learning_rate: the first step size, above 0; kept in the state.
      eta_minus: factor after a change of sign, at most 1.
      eta_plus: factor while the sign stays, at least 1.
      min_step_size: the least that changes of sign leave.
      max_step_size: the most that steps of one sign reach.

    State: 2 numbers per parameter. Riedmiller and Braun 1993; the form without backtracking of Igel and Hüsken 2000,
    "Improving the Rprop Learning Algorithm", iRprop-, as in PyTorch. It wants the whole gradient, not that of a batch.

    >>> import gradx
    >>> tx = gradx.scale_by_rprop(0.5)
    >>> updates, _ = tx.update(-3.0, tx.init(0.0))
    >>> float(updates)
    -0.5
    """

    def first_step(param: Any) -> jax.Array:
        is_complex = jnp.iscomplexobj(param)
        return tree.full_like(param, learning_rate * (1 + 1j) if is_complex else learning_rate)

    def init(params: Params) -> ScaleByRpropState:
        return ScaleByRpropState(jax.tree.map(first_step, params), tree.zeros_like(params))

    def update(updates: Updates, state: ScaleByRpropState) -> tuple[Updates, ScaleByRpropState]:
        hyper = {"eta_minus": eta_minus, "eta_plus": eta_plus}
        hyper |= {"min_step_size": min_step_size, "max_step_size": max_step_size}
        updates, *kept = tree.map_leaves(rprop_leaf, updates, state.step_sizes, state.prev_updates, **hyper)
        return updates, ScaleByRpropState(*kept)

    return init, update


@transformation
def rprop(
    learning_rate: PositiveReal,
    eta_minus: Fraction = 0.5,
    eta_plus: Positive = 1.2,
    min_step_size: Positive = 1e-6,
    max_step_size: Positive = 50.0,
) -> Any:
    """Rprop: u = -step · sign(g), each entry with a step size that grows while its gradient keeps its sign.

    The arguments are those of `scale_by_rprop`.

    State: 2 numbers per parameter. Riedmiller and Braun 1993; Igel and Hüsken 2000, iRprop-, as in PyTorch.

    >>> import gradx
    >>> gradx.rprop(0.01)
    rprop(learning_rate=0.01)
    """
    return chain(scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size), scale(-1.0))
