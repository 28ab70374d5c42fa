"""Muon: which leaves are matrices, what goes in one batch, and Optax beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

import gradx
from gradx.testing import assert_close

SHAPES = {"tall": (4, 3), "wide": (3, 4), "bias": (5,), "heads": (2, 3, 4), "conv": (3, 3, 2, 4)}


def draw(seed):
    keys = jax.random.split(jax.random.key(seed), len(SHAPES))
    return {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)}


def numbers(make):
    return {"tall": make(), "wide": make(1, 0), "bias": None, "heads": make(-2, 2), "conv": make((0, 1, 2), 3)}


def has_two_axes(params):
    return jax.tree.map(lambda p: p.ndim == 2, params)


def share_an_axis(params):
    return jax.tree.map(lambda p: gradx.MuonDimensionNumbers(0, -p.ndim) if p.ndim > 1 else None, params)


def run(tx, apply=gradx.apply_updates):
    params, history = draw(0), []
    state = tx.init(params)
    for step in range(1, 4):
        updates, state = tx.update(draw(step), state, params)
        params = apply(params, updates)
        history.append(updates)
    return history


@pytest.mark.parametrize(
    "hyper",
    [
        {},
        {"preconditioning": "spectral"},
        {"preconditioning": "aol"},
        {"preconditioning": "schatten"},
        {"ns_coeffs": "dion"},
        {"adaptive": True, "nesterov": False},
        {"consistent_rms": 0.2, "ns_steps": 3},
    ],
    ids=str,
)
def test_kernels_follow_optax(hyper):
    ours = run(gradx.muon(0.1, muon_weight_dimension_numbers=numbers(gradx.MuonDimensionNumbers), **hyper))
    peer = numbers(optax.contrib.MuonDimensionNumbers)
    theirs = run(optax.contrib.muon(0.1, muon_weight_dimension_numbers=peer, **hyper), optax.apply_updates)
    for name in SHAPES:
        assert_close([u[name] for u in ours], [u[name] for u in theirs], rtol=2e-5, atol=1e-5)


def test_dimension_numbers_of_optax_are_understood():
    ours = run(gradx.muon(0.1, muon_weight_dimension_numbers=numbers(gradx.MuonDimensionNumbers)))
    theirs = run(gradx.muon(0.1, muon_weight_dimension_numbers=numbers(optax.contrib.MuonDimensionNumbers)))
    assert_close(ours, theirs)


def test_adam_takes_what_is_no_matrix():
    tx = gradx.muon(0.1, adam_learning_rate=0.2, adam_b1=0.5, muon_weight_dimension_numbers=has_two_axes)
    updates, adam = run(tx)[-1], gradx.adamw(0.2, 0.5)
    expected = run(adam.replace(weight_decay=0.0, nesterov=True))[-1]
    assert_close(
        {k: updates[k] for k in ("bias", "heads", "conv")}, {k: expected[k] for k in ("bias", "heads", "conv")}
    )
    assert not np.allclose(updates["wide"], expected["wide"], atol=1e-3)


def test_matrices_are_named():
    def only_wide(params):
        return gradx.tree.map_with_path(lambda name, p: name == "wide", params)

    labels = gradx.muon(0.1, muon_weight_dimension_numbers=only_wide).init(draw(0)).inner_states["muon"][0].mu
    assert {name for name, x in labels.items() if x is not None} == {"wide"}


def test_stacked_layers_are_a_batch():
    tx = gradx.scale_by_muon(weight_dimension_numbers=True)
    layers = jax.random.normal(jax.random.key(0), (5, 3, 4))
    stacked, _ = tx.update(layers, tx.init(layers))
    alone = [tx.update(x, tx.init(x))[0] for x in layers]
    assert_close(stacked, jnp.stack(alone))


def test_matrices_of_one_shape_are_one_product():
    params = {f"w{i}": jnp.ones((3, 4)) for i in range(6)} | {"turned": jnp.ones((4, 3)), "other": jnp.ones((2, 2))}
    tx = gradx.scale_by_muon(ns_steps=1)
    text = str(jax.make_jaxpr(tx.update)(params, tx.init(params)))
    assert text.count("dot_general[") == 3 * 2  # three products a step, for each of two shapes
    assert "f32[7,3,4]" in text


def test_singular_values_come_near_1():
    g = jax.random.normal(jax.random.key(0), (20, 30))
    for name in ("standard", "dion", "polar_express", ((1.5, -0.5, 0.0),)):
        tx = gradx.scale_by_muon(name, 5 if isinstance(name, str) else 12, preconditioning="spectral")
        values = np.linalg.svd(tx.update(g, tx.init(g))[0], compute_uv=False)
        assert values.min() > 0.6
        assert values.max() < 1.3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gradx.muon(0.1, ns_coeffs="no"), "ns_coeffs must be"),
        (lambda: gradx.muon(0.1, ns_coeffs=(1.0, 2.0)), "ns_coeffs must be"),
        (lambda: gradx.muon(0.1, preconditioning="no"), "preconditioning must be"),
        (lambda: run(gradx.scale_by_muon(weight_dimension_numbers=True)), "is no matrix"),
        (lambda: run(gradx.scale_by_muon(weight_dimension_numbers={"tall": True})), "no prefix of the parameters"),
        (lambda: run(gradx.muon(0.1, muon_weight_dimension_numbers=share_an_axis)), "share an axis"),
    ],
)
def test_mistakes_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
