"""A variational autoencoder of digits, in Haiku.

Shows a mask from `hk.data_structures`, and an exponential mean of the weights, kept beside the training: where the rate
does not fall, the mean has the better bound.
"""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import gradx

LATENT, PIXELS = 8, 64


def bound(images):
    """Return the negative evidence lower bound in nats of binary images [n, PIXELS], by one draw each."""
    hidden = hk.nets.MLP([128, 128], activate_final=True, name="encoder")(images)
    mean, log_scale = jnp.split(hk.Linear(2 * LATENT, name="posterior")(hidden), 2, axis=-1)
    latent = mean + jnp.exp(log_scale) * jax.random.normal(hk.next_rng_key(), mean.shape)
    logits = hk.nets.MLP([128, 128, PIXELS], name="decoder")(latent)
    missed = gradx.losses.sigmoid_binary_cross_entropy(logits, images).sum(axis=-1)
    divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(2 * log_scale) - 1 - 2 * log_scale, axis=-1)
    return missed + divergence


model = hk.transform(bound)


def main(steps: int = 1500, batch_size: int = 64, rate: float = 2e-3) -> list[float]:
    """Train, and return the loss of every step."""
    images = (np.random.default_rng(0).permutation(load_digits(return_X_y=True)[0]) > 7).astype(np.float32)
    images, test = images[:1400], images[1400:]
    params = model.init(jax.random.key(0), images[:1])
    is_weight = hk.data_structures.map(lambda module, name, value: name == "w", params)
    tx = gradx.adamw(rate, weight_decay=0.05, mask=is_weight)
    state, averages = tx.init(params), params

    @jax.jit
    def train_step(params, state, averages, images, key):
        loss, grads = jax.value_and_grad(lambda params: model.apply(params, key, images).mean())(params)
        updates, state = tx.update(grads, state, params)
        params = gradx.apply_updates(params, updates)
        return params, state, gradx.incremental_update(params, averages, 0.02), loss

    @jax.jit
    def test_bound(params):
        return model.apply(params, jax.random.key(0), jnp.repeat(test, 8, axis=0)).mean()

    rng, losses = np.random.default_rng(1), []
    for step in range(steps):
        rows = rng.choice(len(images), batch_size, replace=False)
        params, state, averages, loss = train_step(params, state, averages, images[rows], jax.random.key(step))
        losses.append(float(loss))
        if (step + 1) % max(1, steps // 6) == 0:
            found, averaged = test_bound(params), test_bound(averages)
            print(f"step {step + 1:4}   nats per test image {found:.2f}, with averaged weights {averaged:.2f}")
    return losses


if __name__ == "__main__":
    main()
