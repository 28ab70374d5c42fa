"""Microbatched functions whose result on the whole batch is plain."""

import jax
import jax.numpy as jnp
from optax import microbatching as peer

from gradx import microbatching
from tests.oracles.case import Case


def draw(rows):
    return lambda rng: (rng.normal(size=3), rng.normal(size=(rows, 3)), rng.normal(size=rows))


def loss(weights, features, targets):
    return jnp.mean((features @ weights - targets) ** 2)


def loss_gradient(weights, features, targets):
    return 2 * features.T @ (features @ weights - targets) / len(targets)


def row_gradients(weights, features, targets):
    return 2 * (features @ weights - targets)[:, None] * features


def by_microbatches(module, kind, size, f=jax.grad(loss)):
    return module.microbatch(f, (1, 2), size, module.AccumulationType[kind])


def rows_mapped(module, kind, size):
    def row(weights, features, target):
        return (features @ weights - target) ** 2

    return module.micro_vmap(row, (None, 0, 0), microbatch_size=size, accumulator=module.AccumulationType[kind])


def squared_gradients(module, size):
    return lambda *arguments: module.micro_grad(
        loss,
        batch_argnums=(1, 2),
        microbatch_size=size,
        accumulator=module.AccumulationType.MEAN,
        transform_fn=lambda g: (g, g**2),
        metrics_fn=jnp.sum,
    )(*arguments)


def reference_squared_gradients(weights, features, targets):
    rows = row_gradients(weights, features, targets)
    return (rows.mean(0), (rows**2).mean(0)), ((features @ weights - targets) ** 2, rows.sum(1), None)


def residuals(weights, features, targets):
    return features @ weights - targets


def squares(weights, features, targets):
    return (features @ weights - targets) ** 2


def case(label, make, reference, rows=12, size=4):
    """Optax is a peer where the size divides the rows, which it asks for."""
    name = f"{label}, {rows} rows by {size}"
    return Case(
        name,
        make(microbatching, size),
        reference,
        draw(rows),
        peer=make(peer, size) if size is None or rows % size == 0 else None,
    )


DIVISIONS = [(12, 4), (11, 4), (11, 11), (3, 5), (7, 1), (5, None)]

REMAINDERS = DIVISIONS[:2]


def means(kind):
    return lambda module, size: by_microbatches(module, kind, size)


def concatenated(module, size):
    return by_microbatches(module, "CONCAT", size, residuals)


def mapped(kind):
    return lambda module, size: rows_mapped(module, kind, size)


CASES = [
    *(case("mean gradient", means("MEAN"), loss_gradient, *division) for division in DIVISIONS),
    *(case("running mean gradient", means("RUNNING_MEAN"), loss_gradient, *division) for division in REMAINDERS),
    *(case("residuals", concatenated, residuals, *division) for division in [*REMAINDERS, (3, 5)]),
    *(case("squares", mapped("CONCAT"), squares, *division) for division in REMAINDERS),
    *(
        case("sum of squares", mapped("SUM"), lambda *a: squares(*a).sum(), *division)
        for division in [*REMAINDERS, (7, 1)]
    ),
    *(case("mean square", mapped("MEAN"), lambda *a: squares(*a).mean(), *division) for division in REMAINDERS),
    *(case("gradients squared", squared_gradients, reference_squared_gradients, *division) for division in REMAINDERS),
]
