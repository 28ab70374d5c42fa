"""Every public function of arrays, with ordinary data of one member: what holds of all of them is asked of each row.

A row is a function of arrays and the arrays; those of `draw(seed)` are of the same shapes for every seed.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradx import assignment, linalg, losses, microbatching, perturbations, projections, tree

MODULES = {
    "losses": losses,
    "projections": projections,
    "linalg": linalg,
    "assignment": assignment,
    "microbatching": microbatching,
    "perturbations": perturbations,
    "tree": tree,
}
N, K = 3, 4
"""Rows and columns of the arrays, where both may be chosen."""


class Row(NamedTuple):
    f: Callable
    draw: tuple[Callable, ...]
    """From a generator to each argument."""
    differentiable: bool = True
    keeps_nan: bool = True
    """False where the docstring says what becomes of a NaN."""


def arguments(row: Row, seed: int) -> tuple:
    rng = np.random.default_rng(seed)
    return tuple(draw(rng) for draw in row.draw)


def normal(*shape: int) -> Callable:
    return lambda rng: rng.normal(size=shape).astype(np.float32)


def integers(high: int, *shape: int, low: int = 0) -> Callable:
    return lambda rng: rng.integers(low, high, size=shape).astype(np.int32)


def distribution(*shape: int) -> Callable:
    return lambda rng: np.float32(rng.dirichlet(np.ones(shape[-1]), shape[:-1]))


def positive_definite(rng: np.random.Generator) -> np.ndarray:
    x = rng.normal(size=(N, 2 * N))
    return np.float32(x @ x.T)


def signs(*shape: int) -> Callable:
    return lambda rng: np.float32(rng.choice([-1, 1], size=shape))


def sums(*shape: int) -> Callable:
    return lambda rng: np.ones(shape, np.float32) / shape[0]


def paddings(*shape: int) -> Callable:
    return lambda rng: np.zeros(shape, np.float32)


def seeds(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 1000, dtype=np.uint32)


def log(draw: Callable) -> Callable:
    return lambda rng: np.log(draw(rng))


def scalar(rng: np.random.Generator) -> np.ndarray:
    return np.float32(rng.uniform(0.5, 1.0))


MATRIX, VECTOR, LABELS, TARGETS = normal(N, K), normal(K), integers(K, N), distribution(N, K)
CTC = (normal(2, 6, K), paddings(2, 6), integers(K, 2, 2, low=1), paddings(2, 2))

LOSSES = {
    "binary_dice_loss": Row(losses.binary_dice_loss, (MATRIX, TARGETS)),
    "cosine_distance": Row(losses.cosine_distance, (MATRIX, MATRIX)),
    "cosine_similarity": Row(losses.cosine_similarity, (MATRIX, MATRIX)),
    "ctc_loss": Row(losses.ctc_loss, CTC),
    "ctc_loss_with_forward_probs": Row(losses.ctc_loss_with_forward_probs, CTC),
    "dice_loss": Row(losses.dice_loss, (MATRIX, TARGETS)),
    "generalized_kl_divergence": Row(losses.generalized_kl_divergence, (MATRIX, TARGETS)),
    "hinge_loss": Row(losses.hinge_loss, (VECTOR, signs(K))),
    "huber_loss": Row(losses.huber_loss, (VECTOR, VECTOR)),
    "kl_divergence": Row(losses.kl_divergence, (MATRIX, TARGETS)),
    "kl_divergence_with_log_targets": Row(losses.kl_divergence_with_log_targets, (MATRIX, log(TARGETS))),
    "l2_loss": Row(losses.l2_loss, (VECTOR, VECTOR)),
    "log_cosh": Row(losses.log_cosh, (VECTOR, VECTOR)),
    "make_fenchel_young_loss": Row(losses.make_fenchel_young_loss(jax.nn.logsumexp), (MATRIX, TARGETS)),
    "multiclass_generalized_dice_loss": Row(losses.multiclass_generalized_dice_loss, (MATRIX, TARGETS)),
    "multiclass_hinge_loss": Row(losses.multiclass_hinge_loss, (MATRIX, LABELS)),
    "multiclass_perceptron_loss": Row(losses.multiclass_perceptron_loss, (MATRIX, LABELS)),
    "multiclass_sparsemax_loss": Row(losses.multiclass_sparsemax_loss, (MATRIX, LABELS)),
    "ntxent": Row(losses.ntxent, (normal(6, K), lambda rng: np.array([0, 1, 0, 1, 2, 2], np.int32))),
    "perceptron_loss": Row(losses.perceptron_loss, (VECTOR, signs(K))),
    "poly_loss_cross_entropy": Row(losses.poly_loss_cross_entropy, (MATRIX, TARGETS)),
    "ranking_softmax_loss": Row(losses.ranking_softmax_loss, (MATRIX, TARGETS)),
    "safe_softmax_cross_entropy": Row(losses.safe_softmax_cross_entropy, (MATRIX, TARGETS)),
    "sigmoid_binary_cross_entropy": Row(losses.sigmoid_binary_cross_entropy, (MATRIX, TARGETS)),
    "sigmoid_focal_loss": Row(lambda x, y: losses.sigmoid_focal_loss(x, y, alpha=0.25), (MATRIX, TARGETS)),
    "smooth_labels": Row(lambda y: losses.smooth_labels(y, 0.1), (TARGETS,)),
    "softmax_cross_entropy": Row(losses.softmax_cross_entropy, (MATRIX, TARGETS)),
    "softmax_cross_entropy_with_integer_labels": Row(
        losses.softmax_cross_entropy_with_integer_labels, (MATRIX, LABELS)
    ),
    "sparsemax_loss": Row(losses.sparsemax_loss, (VECTOR, integers(2, K))),
    "squared_error": Row(losses.squared_error, (VECTOR, VECTOR)),
    "triplet_margin_loss": Row(lambda x, y, z: losses.triplet_margin_loss(x, y, z, margin=9.0), (MATRIX,) * 3),
    "vocabulary_cross_entropy": Row(
        lambda x, m, y: losses.vocabulary_cross_entropy(x, m, y, chunk_size=3), (MATRIX, normal(7, K), integers(7, N))
    ),
}
PROJECTIONS = {
    "projection_affine_set": Row(projections.projection_affine_set, (VECTOR, normal(2, K), normal(2))),
    "projection_box": Row(projections.projection_box, (VECTOR, lambda rng: np.float32(-0.5), scalar)),
    "projection_halfspace": Row(projections.projection_halfspace, (VECTOR, VECTOR, scalar)),
    "projection_hypercube": Row(projections.projection_hypercube, (VECTOR, scalar)),
    "projection_hyperplane": Row(projections.projection_hyperplane, (VECTOR, VECTOR, scalar)),
    "projection_l1_ball": Row(projections.projection_l1_ball, (VECTOR, scalar)),
    "projection_l1_sphere": Row(projections.projection_l1_sphere, (VECTOR, scalar)),
    "projection_l2_ball": Row(projections.projection_l2_ball, (VECTOR, scalar)),
    "projection_l2_sphere": Row(projections.projection_l2_sphere, (VECTOR, scalar)),
    "projection_linf_ball": Row(projections.projection_linf_ball, (VECTOR, scalar)),
    "projection_non_negative": Row(projections.projection_non_negative, (VECTOR,)),
    "projection_simplex": Row(projections.projection_simplex, (VECTOR, scalar)),
    "projection_transport": Row(projections.projection_transport, (normal(N, K), sums(N), sums(K))),
    "projection_vector": Row(projections.projection_vector, (VECTOR, VECTOR)),
}
LINALG = {
    "matrix_inverse_pth_root": Row(lambda x: linalg.matrix_inverse_pth_root(x, 2)[0], (positive_definite,)),
    "matrix_inverse_pth_root_eigh": Row(lambda x: linalg.matrix_inverse_pth_root_eigh(x, 4)[0], (positive_definite,)),
    "nnls": Row(lambda a, b: linalg.nnls(a, b, 20), (MATRIX, normal(N))),
    "orthogonalize": Row(linalg.orthogonalize, (MATRIX,)),
    "power_iteration": Row(linalg.power_iteration, (positive_definite,)),
    "power_iteration of a product": Row(
        lambda x, v: linalg.power_iteration(lambda v: x @ v, v0=v), (positive_definite, normal(N))
    ),
}
ASSIGNMENT = {
    "base_hungarian_algorithm": Row(assignment.base_hungarian_algorithm, (MATRIX,), False, keeps_nan=False),
    "hungarian_algorithm": Row(assignment.hungarian_algorithm, (MATRIX,), False, keeps_nan=False),
    "hungarian_algorithm of a tall matrix": Row(
        assignment.hungarian_algorithm, (normal(K, N),), False, keeps_nan=False
    ),
}


def _mean_loss(w, x):
    return jnp.mean(jnp.tanh(x @ w) ** 2)


WEIGHTS, BATCH = normal(K), normal(5, K)
MICROBATCHING = {
    "micro_grad": Row(lambda w, x: microbatching.micro_grad(_mean_loss, microbatch_size=2)(w, x), (WEIGHTS, BATCH)),
    "micro_vmap": Row(
        lambda w, x: microbatching.micro_vmap(lambda row: row @ w, microbatch_size=2)(x), (WEIGHTS, BATCH)
    ),
    **{
        f"microbatch {kind.name}": Row(
            lambda w, x, kind=kind: microbatching.microbatch(lambda w, x: (x @ w)[:2], 1, 2, kind)(w, x),
            (WEIGHTS, normal(4, K)),
        )
        for kind in microbatching.AccumulationType
    },
    "microbatch of few": Row(
        lambda w, x, n: microbatching.microbatch(_mean_loss, 1, 2, num_real_microbatches=n)(w, x),
        (WEIGHTS, BATCH, lambda rng: np.int32(2)),
        False,
        keeps_nan=False,
    ),
    "reshape_batch_axis": Row(lambda x: microbatching.reshape_batch_axis(x, 2), (normal(4, K),)),
}
PERTURBATIONS = {
    f"make_perturbed_fun {type(noise).__name__}": Row(
        lambda x, s, noise=noise: perturbations.make_perturbed_fun(jax.nn.softmax, 5, noise=noise)(
            jax.random.key(s), x
        ),
        (VECTOR, seeds),
    )
    for noise in (perturbations.Gumbel(), perturbations.Normal())
}
TWO = (lambda rng: {"w": rng.normal(size=(2, 3)).astype(np.float32), "b": rng.normal(size=2).astype(np.float32)},) * 2
TREE = {
    "add": Row(tree.add, TWO),
    "add_scale": Row(tree.add_scale, (TWO[0], scalar, TWO[1])),
    "allclose": Row(tree.allclose, TWO, False, keeps_nan=False),
    "batch_shape": Row(lambda x: tree.batch_shape(x, (2,)), TWO[:1]),
    "bias_correction": Row(lambda x, c: tree.bias_correction(x, 0.9, c), (TWO[0], lambda rng: np.int32(3))),
    "cast": Row(lambda x: tree.cast(x, jnp.bfloat16), TWO[:1]),
    "cast_like": Row(tree.cast_like, TWO[:1] * 2),
    "clip": Row(lambda x: tree.clip(x, -0.5, 0.5), TWO[:1]),
    "conj": Row(tree.conj, TWO[:1]),
    "copy": Row(tree.copy, TWO[:1]),
    "div": Row(tree.div, TWO),
    "full_like": Row(lambda x: tree.full_like(x, 2.0), TWO[:1], keeps_nan=False),
    "lift": Row(tree.lift, TWO[:1]),
    "map_leaves": Row(lambda x, y: tree.map_leaves(jnp.add, x, y), TWO),
    "max": Row(tree.max, TWO[:1]),
    "min": Row(tree.min, TWO[:1]),
    "mul": Row(tree.mul, TWO),
    "norm": Row(tree.norm, TWO[:1]),
    "norm 1": Row(lambda x: tree.norm(x, 1), TWO[:1]),
    "norm inf": Row(lambda x: tree.norm(x, "inf"), TWO[:1]),
    "ones_like": Row(tree.ones_like, TWO[:1], keeps_nan=False),
    "random_like": Row(lambda x, s: tree.random_like(jax.random.key(s), x), (TWO[0], seeds), keeps_nan=False),
    "real": Row(tree.real, TWO[:1]),
    "real_full_like": Row(lambda x: tree.real_full_like(x, 0.0), TWO[:1], keeps_nan=False),
    "scale": Row(tree.scale, (scalar, TWO[0])),
    "split_key_like": Row(
        lambda x, s: tree.unwrap_random_key_data(tree.split_key_like(jax.random.key(s), x)),
        (TWO[0], seeds),
        False,
        keeps_nan=False,
    ),
    "sub": Row(tree.sub, TWO),
    "sum": Row(tree.sum, TWO[:1]),
    "update_infinity_moment": Row(lambda g, m: tree.update_infinity_moment(g, m, 0.9, 1e-8), TWO),
    "update_moment": Row(lambda g, m: tree.update_moment(g, m, 0.9, 2), TWO),
    "update_moment_per_elem_norm": Row(lambda g, m: tree.update_moment_per_elem_norm(g, m, 0.9, 3), TWO),
    "vdot": Row(tree.vdot, TWO),
    "where": Row(lambda x, y: tree.where(x["b"][0] > 0, x, y), TWO, keeps_nan=False),
    "zeros_like": Row(tree.zeros_like, TWO[:1], keeps_nan=False),
}
ROWS = {
    "losses": LOSSES,
    "projections": PROJECTIONS,
    "linalg": LINALG,
    "assignment": ASSIGNMENT,
    "microbatching": MICROBATCHING,
    "perturbations": PERTURBATIONS,
    "tree": TREE,
}
FUNCTIONS = {f"{module}.{name}": row for module, rows in ROWS.items() for name, row in rows.items()}
NOT_OF_ARRAYS = {
    "linalg.COEFFICIENTS",
    "linalg.Coefficients",
    "microbatching.AccumulationType",
    "microbatching.Accumulator",
    "microbatching.Aux",
    "perturbations.Gumbel",
    "perturbations.Noise",
    "perturbations.Normal",
    # of names, dtypes, structures and states
    "tree.broadcast",
    "tree.dtype",
    "tree.get",
    "tree.get_all_with_path",
    "tree.map_params",
    "tree.map_with_path",
    "tree.paths",
    "tree.real_dtype",
    "tree.scalar_like",
    "tree.set",
    "tree.size",
    "tree.total",
    "tree.unbox",
    "tree.unwrap_random_key_data",
}
