"""Complex parameters as pairs of real ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.typing import Params, PyTree, State, Updates


class SplitRealAndImaginaryArrays(NamedTuple):
    """The two parts of a complex array."""

    real: jax.Array
    imaginary: jax.Array


class SplitRealAndImaginaryState(NamedTuple):
    """The state of `split_real_and_imaginary`."""

    inner_state: State
    """The inner state, a pair of real arrays where a parameter is complex."""


@transformation
def split_real_and_imaginary(inner: GradientTransformation) -> Any:
    """Run `inner` on the real and the imaginary parts of complex parameters as if they were parameters of their own.

    Adam, say, then scales each part by its own moments; without this, by one for both.

    Args:
      inner: the transformation; real parameters reach it as they are.

    State: the inner state.

    >>> import gradx
    >>> tx = gradx.split_real_and_imaginary(gradx.scale_by_sign())
    >>> updates, _ = tx.update(3.0 - 4.0j, tx.init(0.0j))
    >>> complex(updates)
    (1-1j)
    """

    def init(params: Params) -> SplitRealAndImaginaryState:
        return SplitRealAndImaginaryState(run_init(inner, _split(params)))

    def update(
        updates: Updates, state: SplitRealAndImaginaryState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, SplitRealAndImaginaryState]:
        new, inner_state = run_update(inner, _split(updates), state.inner_state, _split(params), extras)
        return _joined(new), SplitRealAndImaginaryState(inner_state)

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)], True, runs_as_given=False)


def _split(params: PyTree) -> PyTree:
    def parts(x: Any) -> Any:
        return SplitRealAndImaginaryArrays(jnp.real(x), jnp.imag(x)) if jnp.iscomplexobj(x) else x

    return jax.tree.map(parts, params)


def _joined(params: PyTree) -> PyTree:
    def whole(x: Any) -> Any:
        return jax.lax.complex(x.real, x.imaginary) if _is_pair(x) else x

    return jax.tree.map(whole, params, is_leaf=_is_pair)


def _is_pair(x: Any) -> bool:
    return isinstance(x, SplitRealAndImaginaryArrays)
