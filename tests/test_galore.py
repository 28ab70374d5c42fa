"""GaLore: subspaces, their shapes, and when they are renewed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

import gradx
from gradx.testing import assert_close

SHAPES = {"tall": (6, 3), "wide": (3, 6), "bias": (5,), "square": (4, 4), "heads": (3, 2, 4)}


def draw(seed):
    keys = jax.random.split(jax.random.key(seed), len(SHAPES))
    return {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)}


def numbers(make):
    return {"tall": make(), "wide": make(), "bias": None, "square": make(), "heads": make((0, 1), 2)}


def run(tx, apply=gradx.apply_updates, steps=4):
    params, history = draw(0), []
    state = tx.init(params)
    for step in range(1, steps + 1):
        updates, state = tx.update(draw(step), state, params)
        params = apply(params, updates)
        history.append(updates)
    return history, state


@pytest.mark.parametrize("hyper", [{"rank": 2}, {"rank": 3, "update_proj_gap": 2, "scale": 0.25, "weight_decay": 0.1}])
def test_it_follows_optax(hyper):
    ours, _ = run(gradx.galore(0.1, **hyper, weight_dimension_numbers=numbers(gradx.GaLoreDimensionNumbers)))
    peer = numbers(optax.contrib.GaLoreDimensionNumbers)
    theirs, _ = run(optax.contrib.galore(0.1, **hyper, weight_dimension_numbers=peer), optax.apply_updates)
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_inner_state_is_small():
    state = gradx.scale_by_galore(rank=2).init(draw(0))
    mu = jax.tree.map(jnp.shape, state.base_optimizer_state.mu, is_leaf=lambda x: hasattr(x, "shape"))
    assert mu == {"tall": (3, 2), "wide": (3, 2), "bias": (5,), "square": (4, 2), "heads": (3, 2, 4)}
    assert state.projector["tall"].shape == state.projector["wide"].shape == (6, 2)
    assert state.projector["bias"] is None


def test_subspaces_are_renewed_at_intervals():
    seen = [run(gradx.scale_by_galore(1, 2), steps=n)[1].projector["wide"] for n in (1, 2, 3, 4)]
    assert_close(seen[0], seen[1])
    assert_close(seen[2], seen[3])
    assert not np.allclose(np.abs(seen[1]), np.abs(seen[2]), atol=1e-2)
    assert_close(seen[0].mT @ seen[0], jnp.ones((1, 1)))


def test_full_rank_loses_nothing():
    updates, _ = run(gradx.scale_by_galore(99, 1, 0.5, gradx.identity()), steps=1)
    assert_close(
        {k: updates[0][k] for k in ("tall", "wide", "square")},
        {k: 0.5 * draw(1)[k] for k in ("tall", "wide", "square")},
    )


def test_complex_matrices_keep_their_phases():
    g = draw(1)["wide"] + 1j * draw(2)["wide"]
    tx = gradx.scale_by_galore(99, 1, 1.0, gradx.identity())
    assert_close(tx.update(g, tx.init(g))[0], g)
    tall = g.T
    assert_close(tx.update(tall, tx.init(tall))[0], tall)


def test_stacked_layers_are_a_batch():
    tx = gradx.scale_by_galore(2, weight_dimension_numbers=True)
    layers = jax.random.normal(jax.random.key(0), (5, 3, 4))
    stacked, _ = tx.update(layers, tx.init(layers))
    assert_close(stacked, jnp.stack([tx.update(x, tx.init(x))[0] for x in layers]))
