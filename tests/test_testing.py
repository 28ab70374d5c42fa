"""`check_transform` passes what is right and finds what is wrong, clause by clause."""

import jax
import jax.numpy as jnp
import optax
import pytest

import gradx
from gradx import testing


@gradx.transformation
def right(rate=0.1):
    def update(updates, state, params=None):
        return gradx.tree.scale(-rate, updates), state

    return lambda params: gradx.EmptyState(), update


def test_it_passes_our_own_and_optax():
    testing.check_transform(right())
    testing.check_transform(optax.sgd(0.1), skip=("extras",))  # Optax's plain updates refuse extras


BROKEN = {
    "structure": (lambda p: {"n": jnp.zeros(())}, lambda u, s, p=None: (u, {"n": s["n"], "m": s["n"]})),
    "donation": (lambda p: p, lambda u, s, p=None: (u, s)),
    "jit": (
        lambda p: (),
        lambda u, s, p=None: (jax.tree.map(lambda x: -x if isinstance(x, jax.core.Tracer) else x, u), s),
    ),
    "grad": (lambda p: (), lambda u, s, p=None: (jax.tree.map(lambda x: jnp.sqrt(jnp.abs(x)), u), s)),
    "extremes": (lambda p: (), lambda u, s, p=None: (jax.tree.map(lambda x: x / jnp.abs(x), u), s)),
    "odd_leaves": (lambda p: (), lambda u, s, p=None: (jax.tree.map(lambda x: x / x.max(), u), s)),
    "strict": (lambda p: (), lambda u, s, p=None: (jax.tree.map(lambda x: x * jnp.int32(2), u), s)),
}


@pytest.mark.parametrize("clause", BROKEN)
def test_it_finds_what_is_wrong(clause):
    tx = optax.GradientTransformation(*BROKEN[clause])
    with pytest.raises(AssertionError, match=rf"\n{clause}: "):
        testing.check_transform(tx)


def test_unknown_clauses_are_refused():
    with pytest.raises(ValueError, match=r"no clause 'speed'; there are unpack, value"):
        testing.check_transform(right(), skip=("speed",))
