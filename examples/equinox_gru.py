"""A recurrent network tells which way a noisy spiral turns, in Equinox.

Shows `eqx.filter`, which hands the optimizer the arrays of a model that holds functions too; RMSProp behind a clip.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import gradx


class Classifier(eqx.Module):
    """A gated recurrent unit reads the points; a linear layer answers."""

    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear

    def __init__(self, hidden: int, key: jax.Array):
        k1, k2 = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(2, hidden, key=k1)
        self.head = eqx.nn.Linear(hidden, 1, key=k2)

    def __call__(self, points):
        hidden, _ = jax.lax.scan(lambda h, x: (self.cell(x, h), None), jnp.zeros(self.cell.hidden_size), points)
        return self.head(hidden)[0]


def spirals(count: int, seed: int, length: int = 24):
    """Return noisy spirals [count, length, 2] that begin anywhere, and whether each turns left."""
    rng = np.random.default_rng(seed)
    turns_left = rng.integers(0, 2, count)
    angle = rng.uniform(0, 2 * np.pi, (count, 1)) + np.where(turns_left, 1, -1)[:, None] * np.linspace(0, 6, length)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * np.linspace(0.2, 1.0, length)[:, None]
    points += rng.normal(scale=0.5, size=points.shape)
    return points.astype(np.float32), turns_left.astype(np.float32)


@eqx.filter_jit
def accuracy(model, points, turns_left):
    return jnp.mean((jax.vmap(model)(points) > 0) == turns_left)


def main(steps: int = 400, batch_size: int = 64, rate: float = 3e-3, hidden: int = 16) -> list[float]:
    """Train, and return the loss of every step."""
    points, turns_left = spirals(2000, seed=0)
    test = spirals(2000, seed=1)
    model = Classifier(hidden, jax.random.key(0))
    tx = gradx.chain(gradx.clip_by_global_norm(5.0), gradx.rmsprop(rate, decay=0.95))
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def train_step(model, state, points, turns_left):
        def loss_of(model):
            return gradx.losses.sigmoid_binary_cross_entropy(jax.vmap(model)(points), turns_left).mean()

        loss, grads = eqx.filter_value_and_grad(loss_of)(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, loss

    rng, losses = np.random.default_rng(1), []
    for step in range(steps):
        rows = rng.choice(len(points), batch_size, replace=False)
        model, state, loss = train_step(model, state, points[rows], turns_left[rows])
        losses.append(float(loss))
        if (step + 1) % max(1, steps // 5) == 0:
            print(f"step {step + 1:4}   loss {losses[-1]:.4f}   test accuracy {accuracy(model, *test):.1%}")
    return losses


if __name__ == "__main__":
    main()
