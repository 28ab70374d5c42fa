"""Boxes: bounds as numbers, arrays, prefixes and trees; what does not fit is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx.projections import projection_box, projection_hypercube, projection_linf_ball

X = {"a": jnp.array([-2.0, 0.25, 3.0]), "b": {"c": jnp.array([[1.0, -1.0]])}}


def equal(got, wanted):
    return all(map(np.array_equal, jax.tree.leaves(got), jax.tree.leaves(wanted)))


@pytest.mark.parametrize(
    ("lower", "upper", "wanted"),
    [
        (0, 1.0, ([0, 0.25, 1], [[1, 0]])),
        ({"a": -1.0, "b": 0.5}, np.float32(2), ([-1, 0.25, 2], [[1, 0.5]])),
        ({"a": jnp.array([0.0, 1.0, 2.0]), "b": {"c": -0.5}}, float("inf"), ([0, 1, 3], [[1, -0.5]])),
        (-float("inf"), {"a": jnp.int32(1), "b": {"c": jnp.array([[0.0, 0.0]])}}, ([-2, 0.25, 1], [[0, -1]])),
    ],
)
def test_bounds_of_every_form(lower, upper, wanted):
    with jax.numpy_dtype_promotion("strict"):
        assert equal(projection_box(X, lower, upper), {"a": np.array(wanted[0]), "b": {"c": np.array(wanted[1])}})


def test_a_scale_may_be_a_tree():
    scale = {"a": 1, "b": jnp.float32(0.5)}
    assert equal(projection_hypercube(X, scale), {"a": np.array([0, 0.25, 1]), "b": {"c": np.array([[0.5, 0]])}})
    assert equal(projection_linf_ball(X, scale), {"a": np.array([-1, 0.25, 1]), "b": {"c": np.array([[0.5, -0.5]])}})
    assert equal(projection_linf_ball(X, {"a": np.uint8(1), "b": 2}), {"a": np.array([-1, 0.25, 1]), "b": X["b"]})


def test_crossed_bounds_are_refused():
    with pytest.raises(ValueError, match=r"lower must not exceed upper, got lower=1.5, upper=1"):
        projection_box(X, 1.5, 1)
    with pytest.raises(ValueError, match="lower must not exceed upper"):
        projection_box(X, {"a": 0.0, "b": np.array([[0.0, 2.0]])}, 1)


def test_bounds_that_fit_no_leaf_are_refused():
    with pytest.raises(ValueError, match=r"projection_box: upper is float32\[2\], but .* is float32\[3\]"):
        projection_box(X, 0, {"a": jnp.ones(2), "b": 1})
    with pytest.raises(ValueError, match="projection_box: lower is no scalar, and no tree over the leaves of x"):
        projection_box(X, {"a": 0.0}, 1)


def test_traced_bounds_that_cross_give_the_upper():
    assert equal(jax.jit(projection_box)(jnp.array([0.0, 5.0]), 3.0, 1.0), np.array([1.0, 1.0]))


def test_nan_stays_nan():
    assert np.array_equal(projection_box(jnp.array([np.nan, 2.0]), 0, 1), [np.nan, 1], equal_nan=True)
