"""Generalized primal averaging: a running mean of the iterates, near which the gradients are taken."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.evaluation import map_known
from gradx.transforms.momentum import storage_dtype
from gradx.typing import Decay, DType, Params, State, Updates
from gradx.wrappers.schedule_free import Interpolation, average_leaf


class PrimalAveragingState(NamedTuple):
    """The state of `generalized_primal_averaging`."""

    mu_y: jax.Array
    """float32[]: the share of x in the point y at which the next gradient is taken."""
    z: Params
    """The iterates of the optimizer inside; like the parameters, in `state_dtype` or at least float32."""
    inner_state: State

    def eval_params(self, params: Params) -> Params:
        """Return x, the mean, from the parameters y."""
        return map_known(lambda z, y: tree.map_leaves(average_leaf, tree.lift(y), z, b1=self.mu_y), self.z, params)


def primal_leaf(u, z, y, *, toward, along):
    """Return (y_next - y, z_next), z_next = z + u.

    x_next = mu_x · x + (1 - mu_x) · z_next and y = mu_y · x + (1 - mu_y) · z, put into y_next - y, are without x and
    its division by mu_y: toward · (z - y) + along · u, where mu_y stays toward is 1 - mu_x and along 1 - mu_x · mu_y.
    """
    step = toward * (z - y) + along * u
    return step, numerics.made_after(z + u, step)


@transformation
def generalized_primal_averaging(
    inner: GradientTransformation,
    mu_x: Decay = 0.9967,
    mu_y: Interpolation = 0.7,
    state_dtype: DType | None = None,
) -> Any:
    """Take the gradient between the iterates z of an optimizer and their running mean x, which is what to evaluate.

    z ← z + u(y);  x ← mu_x · x + (1 - mu_x) · z;  y ← mu_y · x + (1 - mu_y) · z. The parameters are y;
    `gradx.eval_params(state, y)` gives x. It smooths what DiLoCo on one worker does in two loops; `schedule_free` has
    the mean of all z in place of the running one.

    Args:
      inner: any optimizer, with its learning rate and schedule; its weight decay sees y.
      mu_x: decay of the mean, in [0, 1): 0.9869, 0.9934, 0.9967, 0.9984 stand for 8, 16, 32, 64 inner steps of DiLoCo.
        0 is `inner` alone.
      mu_y: share of x in y, in (0, 1].
      state_dtype: of z; None is at least float32.

    State: 1 number per parameter and 1 scalar beside the inner state. Needs: params. Defazio et al. 2025,
    arXiv:2512.17131, GPA; the defaults are those of the authors' code.

    >>> import gradx
    >>> tx = gradx.generalized_primal_averaging(gradx.sgd(1.0), mu_x=0.5, mu_y=0.5)
    >>> updates, state = tx.update(4.0, tx.init(0.0), 0.0)  # z is -4 and x halfway there
    >>> float(updates), float(gradx.eval_params(state, updates))
    (-3.0, -2.0)
    """

    def init(params: Params) -> PrimalAveragingState:
        stored = jax.tree.map(lambda p: tree.cast(p, storage_dtype(p, state_dtype)), tree.lift(params))
        share = jnp.array(mu_y, tree.real_dtype(params))
        return PrimalAveragingState(share, tree.copy(stored), run_init(inner, params))

    def update(
        updates: Updates, state: PrimalAveragingState, params: Params, **extras: Any
    ) -> tuple[Updates, PrimalAveragingState]:
        steps, inner_state = run_update(inner, updates, state.inner_state, params, extras)
        before, now, keeps = state.mu_y, *(jnp.asarray(x, state.mu_y.dtype) for x in (mu_y, mu_x))
        hyper = {"toward": 1 - keeps * now / before, "along": 1 - keeps * now}
        updates, z = tree.map_leaves(primal_leaf, steps, state.z, params, **hyper)
        return updates, PrimalAveragingState(now, z, inner_state)

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)])
