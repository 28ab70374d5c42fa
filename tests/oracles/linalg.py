"""Linear algebra from its definitions: eigendecompositions, singular values, SciPy's active-set solver."""

import functools

import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
from optax.contrib import _muon

from gradx import linalg
from tests.oracles.case import Case

EXACT_STOP = 1e-14
"""Below what float64 resolves: iterations end at their rounding floor, not at a tolerance."""


def spectrum_matrix(rng, eigenvalues):
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    basis, _ = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))
    matrix = (basis * np.asarray(eigenvalues)) @ basis.T
    return (matrix + matrix.T) / 2


def fix_sign(vector, xp=np):
    """An eigenvector is known up to its sign: make the largest entry positive."""
    top = xp.argmax(xp.abs(vector))
    return vector * xp.sign(vector[top])


def dominant_pair(matrix):
    values, vectors = np.linalg.eigh(matrix)
    top = np.argmax(np.abs(values))
    return values[top], fix_sign(vectors[:, top])


def dominant_value(matrix):
    return dominant_pair(matrix)[0]


def inverse_root(matrix, p, ridge_epsilon=1e-6):
    values, vectors = np.linalg.eigh(matrix)
    values = values + ridge_epsilon * max(values.max(), 1e-16)
    return (vectors * values ** (-1 / p)) @ vectors.T


def least_squares(A, b):
    columns = b.reshape(len(b), -1)
    solution = np.stack([scipy.optimize.nnls(A, column, maxiter=1000)[0] for column in columns.T], axis=1)
    return solution.reshape(A.shape[1:] + b.shape[1:])


def polynomial_on_singular_values(x, coefficients, steps=5):
    """U f(S) Vᵀ, f the scalar recurrence from the shares of the Frobenius norm."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    norm = np.sqrt((s * s).sum(-1, keepdims=True))
    return (u * scalar_recurrence(s / np.where(norm > 0, norm, 1), coefficients, steps)[..., None, :]) @ vt


def scalar_recurrence(share, coefficients, steps=5):
    """What Newton-Schulz makes of a singular value that is this share of the Frobenius norm."""
    polynomials, margin = coefficients
    s = share / margin
    for step in range(steps):
        a, b, c = polynomials[min(step, len(polynomials) - 1)]
        s = a * s + b * s**3 + c * s**5
    return s


def our_pair(matrix):
    value, vector = linalg.power_iteration(matrix, num_iters=400, error_tolerance=EXACT_STOP)
    return value, fix_sign(vector, jnp)


def our_value(matrix):
    return linalg.power_iteration(matrix, num_iters=400, error_tolerance=EXACT_STOP)[0]


def our_value_of_function(matrix):
    product = functools.partial(jnp.matmul, matrix, precision="highest")
    start = jnp.ones(matrix.shape[-1], matrix.dtype)
    return linalg.power_iteration(product, v0=start, num_iters=400, error_tolerance=EXACT_STOP)[0]


def optax_pair(matrix):
    value, vector = optax.power_iteration(matrix, num_iters=400, error_tolerance=EXACT_STOP)
    return value, fix_sign(vector, jnp)


def our_newton_root(matrix, p):
    return linalg.matrix_inverse_pth_root(matrix, p, error_tolerance=EXACT_STOP)[0]


def our_eigh_root(matrix, p):
    return linalg.matrix_inverse_pth_root_eigh(matrix, p)[0]


def optax_root(matrix, p):
    return optax.matrix_inverse_pth_root(matrix, p)[0]


def optax_orthogonalize(x):
    return _muon.orthogonalize_via_newton_schulz(x, jnp.asarray((3.4445, -4.7750, 2.0315), x.dtype))


def dominant_arguments(rng):
    return (spectrum_matrix(rng, [-3.0, 2.0, 1.5, 1.0, -0.5, 0.1]),)


def positive_arguments(rng):
    return (spectrum_matrix(rng, np.geomspace(0.02, 3.0, 6)),)


def nnls_arguments(rng, columns):
    A = rng.uniform(size=(12, 5))
    return A, A @ rng.normal(size=(5, *columns)) + 0.1 * rng.normal(size=(12, *columns))


def matrices(shape):
    return lambda rng: (rng.normal(size=shape),)


def orthogonalize_case(name, shape, coefficients, peer=None):
    return Case(
        f"orthogonalize {name}",
        ours=functools.partial(linalg.orthogonalize, coefficients=coefficients),
        reference=functools.partial(polynomial_on_singular_values, coefficients=linalg.COEFFICIENTS[coefficients]),
        arguments=matrices(shape),
        tolerance=1e-11,
        # The least singular values grow several hundredfold, and their rounding errors with them.
        tolerance32=5e-5,
        peer=peer,
    )


def root_cases(p):
    reference = functools.partial(inverse_root, p=p)
    # Optax rounds log2(p), so that p = 3 gives another matrix, and stops too early on some matrices for p = 4.
    peer = functools.partial(optax_root, p=p) if p in (1, 2) else None
    newton = functools.partial(our_newton_root, p=p)
    eigh = functools.partial(our_eigh_root, p=p)
    # The condition number is 150: float32 loses two of its seven digits, the iteration in float64 too.
    bounds = {"tolerance": 1e-11, "tolerance32": 5e-5}
    return [
        Case(f"matrix_inverse_pth_root p={p}", newton, reference, positive_arguments, peer=peer, **bounds),
        Case(f"matrix_inverse_pth_root_eigh p={p}", eigh, reference, positive_arguments, peer=peer, **bounds),
    ]


def nnls_case(name, *columns):
    return Case(
        name,
        ours=functools.partial(linalg.nnls, iters=4000),
        reference=least_squares,
        arguments=functools.partial(nnls_arguments, columns=columns),
        # The normal equations square A's condition number, about 20.
        tolerance=1e-10,
        tolerance32=2e-5,
        peer=functools.partial(optax.nnls, iters=4000),
    )


CASES = [
    Case(
        "power_iteration pair",
        our_pair,
        dominant_pair,
        dominant_arguments,
        peer=optax_pair,
        differentiable=False,  # by design no derivative flows through the eigenvector
    ),
    Case("power_iteration value", our_value, dominant_value, dominant_arguments),
    Case("power_iteration of a function", our_value_of_function, dominant_value, dominant_arguments),
    *(case for p in (2, 3, 4) for case in root_cases(p)),
    nnls_case("nnls vector"),
    nnls_case("nnls matrix", 3),
    orthogonalize_case("quintic wide", (4, 7), "quintic", optax_orthogonalize),
    orthogonalize_case("quintic batch", (2, 3, 4, 6), "quintic"),
    orthogonalize_case("polar_express tall", (9, 3), "polar_express"),
    orthogonalize_case("polar_express row", (1, 6), "polar_express"),
]
