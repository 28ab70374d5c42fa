"""Complex parameters as pairs of real ones."""

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib

import gradx
from gradx.testing import assert_close

PARAMS = {"z": jnp.array([1.0 + 2.0j, -0.5j]), "x": jnp.array([0.5, 3.0])}
GRADS = [jax.tree.map(lambda p, k=k: p * (1 + k) - k * k, PARAMS) for k in range(3)]


def run(tx, params, gradients):
    state, history = tx.init(params), []
    for g in gradients:
        updates, state = tx.update(g, state, params)
        history.append(updates)
    return history, state


def test_parts_are_parameters_of_their_own():
    halves = [{"r": g["z"].real, "i": g["z"].imag, "x": g["x"]} for g in [PARAMS, *GRADS]]
    alone, _ = run(gradx.adamw(0.1), halves[0], halves[1:])
    both, state = run(gradx.split_real_and_imaginary(gradx.adamw(0.1)), PARAMS, GRADS)
    assert_close([u["z"] for u in both], [u["r"] + 1j * u["i"] for u in alone])
    assert_close([u["x"] for u in both], [u["x"] for u in alone])
    assert all(not jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(state))


def test_it_follows_optax():
    ours, _ = run(gradx.split_real_and_imaginary(gradx.adam(0.1)), PARAMS, GRADS)
    theirs, _ = run(optax.contrib.split_real_and_imaginary(optax.adam(0.1)), PARAMS, GRADS)
    assert_close(ours, theirs)


def test_masks_and_extras_reach_the_parts():
    def only_z(params):
        return {"z": True, "x": False}

    tx = gradx.split_real_and_imaginary(gradx.masked(gradx.add_decayed_weights(1.0), only_z))
    updates, _ = run(tx, PARAMS, GRADS[:1])
    assert_close(updates[0], {"z": GRADS[0]["z"] + PARAMS["z"], "x": GRADS[0]["x"]})
    asked = gradx.split_real_and_imaginary(
        gradx.GradientTransformation(lambda params: (), lambda updates, state, params, *, value: (updates, state))
    )
    updates, _ = asked.update(GRADS[0], asked.init(PARAMS), PARAMS, value=1.0)
    np.testing.assert_array_equal(updates["z"], GRADS[0]["z"])
