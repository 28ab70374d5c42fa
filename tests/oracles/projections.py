"""Projections from their definitions in float64: root finding, least squares, least distance programming."""

import numpy as np
import optax.projections
import scipy.linalg
import scipy.optimize

from gradx import projections
from tests.oracles.case import Case

ROOT_TOLERANCE = 1e-12
"""Brent's method ends within a few ulps of the root; the threshold is subtracted from numbers of order one."""
NNLS_TOLERANCE = 1e-12
"""Non-negative least squares is exact on its support, but divides by a residual that may be small."""


def threshold(x, total):
    """The number above which the entries exceed it by `total` in all."""
    excess = lambda level: np.maximum(x - level, 0).sum() - total  # noqa: E731
    return scipy.optimize.brentq(excess, x.max() - total - 1, x.max(), xtol=1e-16, rtol=1e-15)


def simplex(x, scale):
    return np.maximum(x - threshold(x, scale), 0)


def l1_sphere(x, scale):
    return np.sign(x) * simplex(np.abs(x), scale)


def l1_ball(x, scale):
    return x if np.abs(x).sum() <= scale else l1_sphere(x, scale)


def l2_sphere(x, scale):
    return x * scale / np.sqrt((x * x).sum())


def l2_ball(x, scale):
    return x if (x * x).sum() <= scale**2 else l2_sphere(x, scale)


def affine_set(x, A, b):
    """The smallest step that reaches the set."""
    return x + np.linalg.lstsq(A, b - A @ x, rcond=None)[0]


def hyperplane(x, a, b):
    return affine_set(x.ravel(), a.reshape(1, -1), np.reshape(b, 1)).reshape(x.shape)


def halfspace(x, a, b):
    return x if (a * x).sum() <= b else hyperplane(x, a, b)


def vector(x, a):
    """The multiple of `a` with the least squared distance."""
    return np.linalg.lstsq(a.reshape(-1, 1), x.ravel(), rcond=None)[0] * a


def sums_matrix(n, m):
    """The matrix that takes a raveled (n, m) array to its row sums and column sums."""
    return np.concatenate([np.kron(np.eye(n), np.ones((1, m))), np.kron(np.ones((1, n)), np.eye(m))])


def transport(x, row_sums, column_sums):
    """Least distance programming by non-negative least squares (Lawson and Hanson 1974, chapter 23).

    y = y0 + N w has the sums for every w, with y0 the nearest matrix that has them, signs aside, and N orthonormal;
    then |w| is to be the least with N w >= -y0.
    """
    matrix = sums_matrix(*x.shape)
    start = affine_set(x.ravel(), matrix, np.concatenate([row_sums, column_sums]))
    basis = scipy.linalg.null_space(matrix)
    if basis.shape[1] == 0:
        return start.reshape(x.shape)
    system, target = np.vstack([basis.T, -start]), np.eye(basis.shape[1] + 1)[-1]
    residual = system @ scipy.optimize.nnls(system, target)[0] - target
    return (start - basis @ residual[:-1] / residual[-1]).reshape(x.shape)


def ours_transport(x, row_sums, column_sums):
    """With sums made to agree, so that each argument can be varied by itself."""
    return projections.projection_transport(x, row_sums / row_sums.sum(), column_sums / column_sums.sum())


def reference_transport(x, row_sums, column_sums):
    return transport(x, row_sums / row_sums.sum(), column_sums / column_sums.sum())


def normal(*shapes, scale=1.0):
    return lambda rng: tuple(scale * rng.normal(size=shape) for shape in shapes)


def with_scale(scale, shape=(3, 4)):
    return lambda rng: (rng.normal(size=shape), np.asarray(scale))


def bounds(rng):
    x, lower = rng.normal(size=(2, 3, 4))
    return x, lower, lower + rng.random((3, 4))


def marginals(n, m, scale=1.0):
    return lambda rng: (scale * rng.normal(size=(n, m)), 0.1 + rng.random(n), 0.1 + rng.random(m))


def repeated_rows(x, b):
    """A set whose equations say everything twice; the matrix is fixed, for its rank jumps where it is varied."""
    return np.concatenate([FIXED, FIXED]), np.concatenate([b, b])


def ours_repeated(x, b):
    import jax.numpy as jnp

    return projections.projection_affine_set(x, jnp.asarray(np.concatenate([FIXED, FIXED])), jnp.concatenate([b, b]))


FIXED = np.random.default_rng(5).normal(size=(2, 5))


def by_name(name, reference, arguments, label="", tolerance=1e-12):
    function = f"projection_{name}"
    return Case(
        f"{name}{label}",
        getattr(projections, function),
        reference,
        arguments,
        tolerance=tolerance,
        peer=getattr(optax.projections, function, None),
    )


CASES = [
    by_name("non_negative", lambda x: np.where(x > 0, x, 0), normal((3, 4))),
    by_name("box", np.clip, bounds),
    by_name("hypercube", lambda x, scale: np.clip(x, 0, scale), with_scale(0.5)),
    by_name("linf_ball", lambda x, scale: np.clip(x, -scale, scale), with_scale(0.5)),
    by_name("l2_sphere", l2_sphere, with_scale(1.5)),
    by_name("l2_ball", l2_ball, with_scale(1.5), ", outside"),
    by_name("l2_ball", l2_ball, with_scale(9.0), ", inside"),
    by_name("simplex", simplex, with_scale(1.0), tolerance=ROOT_TOLERANCE),
    by_name("simplex", simplex, with_scale(7.5, (40,)), ", of a line", tolerance=ROOT_TOLERANCE),
    by_name("l1_sphere", l1_sphere, with_scale(1.0), ", outside", tolerance=ROOT_TOLERANCE),
    by_name("l1_sphere", l1_sphere, with_scale(40.0), ", inside", tolerance=ROOT_TOLERANCE),
    by_name("l1_ball", l1_ball, with_scale(2.0), ", outside", tolerance=ROOT_TOLERANCE),
    by_name("l1_ball", l1_ball, with_scale(40.0), ", inside", tolerance=ROOT_TOLERANCE),
    by_name("vector", vector, normal((3, 4), (3, 4))),
    by_name("hyperplane", hyperplane, normal((3, 4), (3, 4), ())),
    by_name("halfspace", halfspace, lambda rng: (*rng.normal(size=(2, 3, 4)), np.asarray(-30.0)), ", outside"),
    by_name("halfspace", halfspace, lambda rng: (*rng.normal(size=(2, 3, 4)), np.asarray(30.0)), ", inside"),
    by_name("affine_set", affine_set, normal((6,), (3, 6), (3,))),
    Case(
        "affine_set, rows twice",
        ours_repeated,
        lambda x, b: affine_set(x, *repeated_rows(x, b)),
        normal((5,), (2,)),
    ),
    Case("transport", ours_transport, reference_transport, marginals(3, 4), tolerance=NNLS_TOLERANCE),
    Case(
        "transport, small entries", ours_transport, reference_transport, marginals(4, 3, 0.05), tolerance=NNLS_TOLERANCE
    ),
]

CONVEX = [case for case in CASES if "sphere" not in case.name]
"""The cases whose set is convex: there a projection never moves two points apart."""
