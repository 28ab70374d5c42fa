"""Each moment has the dtype that it is given, and loses no part of a complex number."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx

ESTIMATED = {"hessian_diagonal_fn": gradx.identity()}
DIRECTIONS = [
    *("adam_mini", "adamuon", "dion", "dion2", "kl_shampoo", "kl_soap", "kron", "laprop", "normuon", "polargrad"),
    *("scion", "shampoo", "soap", "soap_muon", "stable_adam"),
]
OPTIMIZERS = [*DIRECTIONS[:-1], "mars_adamw", "stable_adamw"]
KEEPS = {
    ("scale_by_adam", "mu_dtype"): (gradx.scale_by_adam, "mu"),
    ("adam", "mu_dtype"): (lambda **kwargs: gradx.adam(0.1, **kwargs), "mu"),
    ("adamw", "mu_dtype"): (lambda **kwargs: gradx.adamw(0.1, **kwargs), "mu"),
    ("nadam", "mu_dtype"): (lambda **kwargs: gradx.nadam(0.1, **kwargs), "mu"),
    ("nadamw", "mu_dtype"): (lambda **kwargs: gradx.nadamw(0.1, **kwargs), "mu"),
    ("scale_by_nadam", "mu_dtype"): (gradx.scale_by_nadam, "mu"),
    ("scale_by_amsgrad", "mu_dtype"): (gradx.scale_by_amsgrad, "mu"),
    ("amsgrad", "mu_dtype"): (lambda **kwargs: gradx.amsgrad(0.1, **kwargs), "mu"),
    ("scale_by_lion", "mu_dtype"): (gradx.scale_by_lion, "mu"),
    ("lion", "mu_dtype"): (lambda **kwargs: gradx.lion(0.1, **kwargs), "mu"),
    ("scale_by_novograd", "mu_dtype"): (gradx.scale_by_novograd, "mu"),
    ("scale_by_ademamix", "mu_dtype"): (gradx.scale_by_ademamix, "m"),
    ("ademamix", "mu_dtype"): (lambda **kwargs: gradx.ademamix(0.1, **kwargs), "m"),
    ("scale_by_adopt", "mu_dtype"): (gradx.scale_by_adopt, "mu"),
    ("adopt", "mu_dtype"): (lambda **kwargs: gradx.adopt(0.1, **kwargs), "mu"),
    ("sgd", "accumulator_dtype"): (lambda **kwargs: gradx.sgd(0.1, 0.9, **kwargs), "trace"),
    ("momentum", "accumulator_dtype"): (lambda **kwargs: gradx.momentum(0.9, **kwargs), "trace"),
    ("ema", "accumulator_dtype"): (lambda **kwargs: gradx.ema(0.9, **kwargs), "ema"),
    ("signum", "accumulator_dtype"): (lambda **kwargs: gradx.signum(0.1, **kwargs), "ema"),
    ("scale_by_muon", "mu_dtype"): (gradx.scale_by_muon, "mu"),
    ("optimistic_adam_v2", "mu_dtype"): (lambda **kwargs: gradx.optimistic_adam_v2(0.1, **kwargs), "mu"),
    ("scale_by_sophia", "mu_dtype"): (lambda **kwargs: gradx.scale_by_sophia(**ESTIMATED, **kwargs), "mu"),
    ("sophia", "mu_dtype"): (lambda **kwargs: gradx.sophia(0.1, **ESTIMATED, **kwargs), "mu"),
    ("schedule_free", "state_dtype"): (lambda **kwargs: gradx.schedule_free(gradx.sgd(0.1), 0.1, **kwargs), "z"),
    ("schedule_free_sgd", "state_dtype"): (lambda **kwargs: gradx.schedule_free_sgd(0.1, **kwargs), "z"),
    ("schedule_free_adamw", "state_dtype"): (lambda **kwargs: gradx.schedule_free_adamw(0.1, **kwargs), "z"),
    **{(name, "mu_dtype"): (functools.partial(getattr(gradx, name), 0.1), "mu") for name in OPTIMIZERS},
    **{(f"scale_by_{name}", "mu_dtype"): (getattr(gradx, f"scale_by_{name}"), "mu") for name in DIRECTIONS},
    ("adamc", "mu_dtype"): (lambda **kwargs: gradx.adamc(0.1, 0.1, **kwargs), "mu"),
    ("generalized_primal_averaging", "state_dtype"): (
        lambda **kwargs: gradx.generalized_primal_averaging(gradx.sgd(0.1), **kwargs),
        "z",
    ),
    ("MultiSteps", "accumulator_dtype"): (lambda **kwargs: gradx.MultiSteps(gradx.sgd(0.1), 2, **kwargs), "acc_grads"),
}
"""By factory and argument: a value with it, and the field whose dtype it is, or how the fields begin."""


OF_NO_MOMENT = {
    ("inject_hyperparams", "hyperparam_dtype"),
    ("measure_with_ema", "accumulator_dtype"),  # of a measure, below
    ("muon", "mu_dtype"),  # of two parts, below
    ("scale_by_distance_over_gradients", "param_dtype"),  # of a copy of the parameters: tests/test_parameter_free.py
}


def dtypes_kept(tx, params):
    """Return the dtype of each float field, the same before and after an update, and that of the update."""
    state = jax.eval_shape(tx.init, params)
    updates, after = jax.eval_shape(tx.update, params, state, params)
    named = {jax.tree_util.keystr(path): x.dtype for path, x in jax.tree_util.tree_leaves_with_path(state)}
    assert list(named.values()) == [x.dtype for x in jax.tree.leaves(after)]
    return {name: dtype for name, dtype in named.items() if jnp.issubdtype(dtype, jnp.inexact)}, updates.dtype


def test_every_dtype_of_a_moment_is_in_the_table():
    found = {(name, x) for name, f in vars(gradx).items() if callable(f) for x in arguments_of(f)}
    assert found - OF_NO_MOMENT == KEEPS.keys()


def arguments_of(function):
    try:
        return [x for x in inspect.signature(function).parameters if x.endswith("_dtype") and x != "ns_dtype"]
    except ValueError:  # a class of C's
        return []


@pytest.mark.parametrize("key", KEEPS, ids="-".join)
def test_moments_have_the_dtype_they_are_given(key):
    make, field = KEEPS[key]
    for params in (jnp.ones(2), jnp.ones(2, jnp.bfloat16)):
        for given, wanted in ((None, jnp.float32), ("bfloat16", jnp.bfloat16), (jnp.float16, jnp.float16)):
            kept, updated = dtypes_kept(make(**{key[1]: given}), params)
            assert {dtype for name, dtype in kept.items() if f".{field}" in name} == {jnp.dtype(wanted)}
            assert {dtype for name, dtype in kept.items() if f".{field}" not in name} <= {jnp.dtype(jnp.float32)}
            assert updated == params.dtype  # the wider of gradient's and parameter's, whatever is kept


OF_COMPLEX = [key for key in KEEPS if key[0] != "MultiSteps"]


@pytest.mark.parametrize("key", OF_COMPLEX, ids="-".join)
def test_moments_of_complex_parameters_are_complex_in_a_real_dtype(key):
    make, field = KEEPS[key]
    for given in ("bfloat16", "float32", "complex64"):
        kept, updated = dtypes_kept(make(**{key[1]: given}), jnp.ones(2, jnp.complex64))
        assert {dtype for name, dtype in kept.items() if f".{field}" in name} == {updated} == {jnp.dtype(jnp.complex64)}
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        state = jax.eval_shape(make(**{key[1]: "float64"}).init, jnp.ones(2, jnp.complex128))
        assert jnp.complex128 in [x.dtype for x in jax.tree.leaves(state)]


def test_both_parts_of_muon_and_a_measure_have_the_dtype_they_are_given():
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}
    kept = dtypes_kept_in(
        gradx.muon(0.1, mu_dtype="bfloat16", muon_weight_dimension_numbers={"w": True, "b": False}), params
    )
    assert {dtype for name, dtype in kept.items() if ".mu" in name} == {jnp.dtype(jnp.bfloat16)}
    measure = gradx.measure_with_ema(gradx.tree.norm, 0.9, accumulator_dtype="bfloat16")
    kept = dtypes_kept_in(gradx.monitor({"norm": measure}), params)
    assert jnp.dtype(jnp.bfloat16) in kept.values()


def dtypes_kept_in(tx, params):
    state = jax.eval_shape(tx.init, params)
    return {jax.tree_util.keystr(path): x.dtype for path, x in jax.tree_util.tree_leaves_with_path(state)}


@pytest.mark.parametrize("key", [("momentum", "accumulator_dtype"), ("scale_by_adam", "mu_dtype")], ids="-".join)
def test_moments_in_a_real_dtype_keep_the_imaginary_part(key):
    make, field = KEEPS[key]
    g = jnp.array([1.0 + 2.0j, -1.0j], jnp.complex64)
    tx, plain = make(**{key[1]: "float32"}), make()
    _, state = tx.update(g, tx.init(g))
    np.testing.assert_array_equal(
        gradx.tree.get(state, field), gradx.tree.get(plain.update(g, plain.init(g))[1], field)
    )


def test_injected_hyperparameters_have_the_dtype_they_are_given():
    tx = gradx.inject_hyperparams(gradx.adam(0.1), hyperparam_dtype="bfloat16")
    _, state = tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
    assert {x.dtype for x in state.hyperparams.values()} == {jnp.dtype(jnp.bfloat16)}
