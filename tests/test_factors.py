"""Kronecker factors: which sides have which, blocks, rules carried over leaves, and bases that are followed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx.matrices import Layout, on_matrices, plan
from gradx.matrices.bases import eigenbasis, follow, permuted
from gradx.matrices.factors import Blocks, gram, largest, left, norms, right, sides_of, zeros
from gradx.testing import assert_close
from tests.histories import normal

PLAIN = Layout((0,), (1,))


# Sides


@pytest.mark.parametrize(
    ("shape", "how", "expected"),
    [
        ((6, 4), (8, "blocks"), ("full", "full")),
        ((6, 40), (8, "diagonal"), ("full", "diagonal")),
        ((60, 40), (8, "diagonal"), ("diagonal", "diagonal")),
        ((60, 4), (8, "one_sided"), ("none", "full")),
        ((60, 4), (99, "diagonal", True), ("none", "full")),
        ((4, 60), (99, "diagonal", True), ("full", "none")),
        ((5, 5), (99, "diagonal", True), ("full", "none")),
        ((60, 40), (8, "diagonal", True), ("none", "diagonal")),
    ],
)
def test_sides_have_the_factors_of_the_rule(shape, how, expected):
    assert sides_of(PLAIN, shape, *how)[1:] == expected
    assert sides_of(PLAIN, shape, *how).layout == PLAIN


def test_two_sides_too_large_leave_no_matrix():
    assert sides_of(PLAIN, (60, 40), 8, "one_sided") is None
    assert sides_of(PLAIN, (60, 4), 8, "one_sided", one_sided=True)[1:] == ("none", "full")


@pytest.mark.parametrize(
    ("size", "bound", "part"), [(12, 5, 4), (12, 12, 12), (12, 11, 6), (7, 3, 1), (50257, 2048, 1733)]
)
def test_blocks_are_the_largest_that_divide_the_side(size, bound, part):
    sides = sides_of(PLAIN, (size, 2), bound, "blocks")
    assert (sides.layout.rows if isinstance(sides.layout, Blocks) else size) == part
    assert sides.whole == PLAIN


def test_blocks_are_cut_and_put_together():
    x = normal(0, 2, 6, 3, 4)
    heads = Blocks(Layout((1,), (3,)), 3, 2)  # (2 x 3) matrices of (6, 4), of four blocks each
    blocks = heads.batch_of(x)
    assert blocks.shape == (heads.count(x.shape), *heads.fans(x.shape)) == (24, 3, 2)
    np.testing.assert_array_equal(heads.array_of(blocks, x), x)
    one = Blocks(PLAIN, 3, 2).batch_of(x[0, :, 0])
    np.testing.assert_array_equal(one[1], x[0, :3, 0, 2:])
    np.testing.assert_array_equal(one[2], x[0, 3:, 0, :2])


def test_zeros_have_the_shapes_of_their_kinds():
    params = {"a": jnp.ones((6, 40), jnp.bfloat16), "b": jnp.ones(3), "c": jnp.ones((2, 4), jnp.complex64)}
    sides = plan([PLAIN, None, PLAIN], params, 8, "diagonal")
    rows, columns = zeros(sides, params)
    assert {k: x if x is None else (x.shape, x.dtype) for k, x in rows.items()} == {
        "a": ((1, 6, 6), jnp.float32), "b": None, "c": ((1, 2, 2), jnp.complex64)
    }  # fmt: skip
    assert columns["a"].shape == (1, 40)
    values, others = zeros(sides, params, full="diagonal", diagonal="none")
    assert values["c"].shape == (1, 2)
    assert values["c"].dtype == jnp.float32
    assert others["a"].shape == (1, 0)


def test_an_empty_leaf_is_no_matrix():
    assert plan([PLAIN], [jnp.ones((0, 3))], 8, "blocks") == [None]


# Rules


def product_leaf(x, L, R):
    return right(left(L, x), R), L + gram(x, L)


def test_factors_act_by_their_shapes():
    x, L, R = normal(0, 2, 3, 4), normal(1, 2, 3, 3), normal(2, 2, 4)
    assert_close(right(left(L, x), R), L @ x * R[:, None, :])
    none = jnp.zeros((2, 0))
    assert_close(right(left(none, x), none), x)
    assert_close(gram(x, L), x @ x.mT)
    assert_close(gram(x.mT, R), jnp.sum(x * x, axis=1))
    assert gram(x, none).shape == (2, 0)


def test_rules_leave_what_is_no_matrix_or_has_no_gradient():
    grads = {"a": normal(0, 3, 4), "b": jnp.ones(3), "c": None, "d": normal(1, 3, 4)}
    params = grads | {"c": normal(2, 3, 4)}
    axes = {"a": PLAIN, "b": None, "c": PLAIN, "d": PLAIN}
    L, R = zeros(plan(list(axes.values()), params, 3, "diagonal"), params)
    sides = plan([axes[k] for k in "abd"], grads, 3, "diagonal")
    assert [s is None for s in sides] == [False, True, True, False]
    x, moment = on_matrices(product_leaf, sides, (grads,), (L, R), results=2)
    assert x["c"] is None
    assert x["b"] is grads["b"]
    assert moment["c"] is L["c"]
    for name in "ad":
        assert_close(moment[name][0], grads[name] @ grads[name].T)


def test_without_a_matrix_all_stay():
    grads = {"b": jnp.ones(3)}
    x, moment = on_matrices(product_leaf, [None], (grads,), ({"b": None}, {"b": None}), results=2)
    assert x["b"] is grads["b"]
    assert moment == {"b": None}


def test_the_largest_has_its_derivative_where_it_is():
    x = jnp.array([[1.0, 3.0, 2.0]])
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(largest(x)))(x), [[0.0, 1.0, 0.0]])


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_norms_neither_over_nor_underflow(scale):
    np.testing.assert_allclose(norms(scale * jnp.full((1, 3, 3), 2.0)) / np.float32(scale), [[[6.0]]], rtol=1e-6)
    assert float(norms(jnp.zeros((1, 2, 2)))[0, 0, 0]) == 0


# Bases


def matrix_of(values, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))[0]
    return jnp.asarray((q * values) @ q.T, jnp.float32)[None]


def test_eigenvectors_come_by_falling_eigenvalue():
    a = matrix_of([1.0, 5.0, 3.0])
    q = eigenbasis(a)
    assert_close((q.mT @ a @ q)[0], jnp.diag(jnp.array([5.0, 3.0, 1.0])), atol=1e-5)


def test_following_comes_to_the_eigenvectors():
    a, q = matrix_of([8.0, 4.0, 2.0, 1.0]), matrix_of([1.0] * 4, 1) * 0 + jnp.eye(4)[None]
    for _ in range(40):
        q, _ = follow(a, q)
    assert_close(jnp.abs(q[0].T @ eigenbasis(a)[0]), jnp.eye(4), atol=1e-5)


def test_a_basis_whose_eigenvalues_have_crossed_is_sorted_at_once():
    a = jnp.diag(jnp.array([1.0, 3.0, 2.0]))[None]
    q, order = follow(a, jnp.eye(3)[None])
    assert order.tolist() == [[1, 2, 0]]
    assert_close(jnp.abs(q[0]), jnp.eye(3)[:, jnp.array([1, 2, 0])])
    nu = jnp.arange(6.0).reshape(1, 3, 2)
    assert permuted(permuted(nu, order, 1), None, 2)[0, :, 0].tolist() == [2.0, 4.0, 0.0]


@pytest.mark.parametrize("scale", [0.0, 1e-38, 1e30])
def test_bases_are_orthonormal_at_every_scale(scale):
    a = jnp.float32(scale) * matrix_of([2.0, 1.0, 0.0])
    for q in (eigenbasis(a), follow(a, eigenbasis(matrix_of([3.0, 2.0, 1.0], 2)))[0]):
        assert_close(q.mT @ q, jnp.eye(3)[None], atol=1e-5)


def test_bases_are_constants_to_differentiation():
    def f(a):
        return jnp.sum(eigenbasis(a)) + jnp.sum(follow(a, jnp.eye(3)[None])[0])

    assert float(jnp.abs(jax.grad(f)(matrix_of([1.0, 1.0, 1.0]))).max()) == 0
