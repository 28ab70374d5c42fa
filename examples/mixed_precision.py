"""Training in float16: a scaled loss, and steps that are skipped where the gradient overflows.

Shows `dynamic_loss_scale`: weights stay float32, the network computes in float16, the loss is multiplied by as much as
overflow lets it be, so that small gradients are not rounded to zero. Micikevicius et al. 2018, arXiv:1710.03740.
"""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import gradx


def init_params(key, sizes=(64, 64, 64, 10)):
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes, sizes[1:], strict=False)
    return [{"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)} for k, n, m in pairs]


def logits_of(params, x):
    """Compute in float16, whatever the weights are stored in."""
    params, x = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), (params, x))
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def main(steps: int = 600, batch_size: int = 64, rate: float = 3e-3, growth_steps: int = 50) -> list[float]:
    """Train, and return the loss of every step."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = (images[order] / 16).astype(np.float32), labels[order].astype(np.int32)

    params = init_params(jax.random.key(0))
    inner = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(rate, weight_decay=0.05))
    tx = gradx.dynamic_loss_scale(inner, initial_scale=2.0**24, growth_steps=growth_steps)
    state = tx.init(params)

    @jax.jit
    def train_step(params, state, images, labels):
        def loss_of(params):
            logits = logits_of(params, images).astype(jnp.float32)
            loss = gradx.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return gradx.scale_loss(loss, state), loss

        grads, loss = jax.grad(loss_of, has_aux=True)(params)
        updates, state_after = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state_after, loss

    rng, losses = np.random.default_rng(1), []
    for step in range(steps):
        rows = rng.choice(1400, batch_size, replace=False)
        params, state, loss = train_step(params, state, images[rows], labels[rows])
        losses.append(float(loss))
        if (step + 1) % max(1, steps // 8) == 0:
            scale, skipped = np.log2(state.loss_scale), state.total_skipped
            print(f"step {step + 1:4}   loss {losses[-1]:.4f}   scale 2^{scale:.0f}   {skipped} steps skipped")
    right = jnp.mean(logits_of(params, images[1400:]).argmax(axis=-1) == labels[1400:])
    print(f"test accuracy {right:.1%}")
    return losses


if __name__ == "__main__":
    main()
