"""A generative adversarial network draws digits: two networks, two optimizers, in Flax nnx.

Shows Adam with a short memory (b1 = 0.5, as in arXiv:1511.06434) on both sides, in one step. The penalty on the
discriminator's slope keeps the game going (arXiv:1801.04406).
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from sklearn.datasets import load_digits

import gradx

NOISE, WIDTH, PIXELS = 16, 128, 64


def network(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Sequential:
    hidden1, hidden2 = nnx.Linear(inputs, WIDTH, rngs=rngs), nnx.Linear(WIDTH, WIDTH, rngs=rngs)
    return nnx.Sequential(hidden1, nnx.leaky_relu, hidden2, nnx.leaky_relu, nnx.Linear(WIDTH, outputs, rngs=rngs))


def generate(generator, noise):
    return nnx.sigmoid(generator(noise))


def discriminator_loss(discriminator, real, fake):
    """Return the cross-entropy of telling real from generated, and the penalty on the slope at the real ones."""
    slope = jax.grad(lambda x: discriminator(x).sum())(real)
    logits = jnp.concatenate([discriminator(real), discriminator(fake)])[:, 0]
    is_real = jnp.repeat(jnp.array([1.0, 0.0]), len(real))
    told = 2 * gradx.losses.sigmoid_binary_cross_entropy(logits, is_real).mean()
    return told + 0.5 * jnp.mean(jnp.sum(slope**2, axis=-1))


def generator_loss(generator, discriminator, noise):
    """Return the cross-entropy of being taken for real."""
    logits = discriminator(generate(generator, noise))[:, 0]
    return gradx.losses.sigmoid_binary_cross_entropy(logits, jnp.ones(len(noise))).mean()


@nnx.jit
def train_step(generator, discriminator, for_generator, for_discriminator, real, key):
    noise = jax.random.normal(key, (len(real), NOISE))
    fake = generate(generator, noise)
    loss, grads = nnx.value_and_grad(discriminator_loss)(discriminator, real, fake)
    for_discriminator.update(discriminator, grads)
    grads = nnx.grad(generator_loss)(generator, discriminator, noise)
    for_generator.update(generator, grads)
    return loss


def frechet_distance(x, y):
    """Return the squared Fréchet distance between normal distributions with the moments of x and of y, [n, PIXELS]."""
    c, d = np.cov(x.T), np.cov(y.T)
    overlap = np.sqrt(np.maximum(np.linalg.eigvals(c @ d).real, 0.0)).sum()
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(c) + np.trace(d) - 2 * overlap


def picture(images) -> str:
    """Return 8 by 8 images side by side as text."""
    shades = np.array(list(" .:-=+*#%@"))
    rows = np.clip(np.asarray(images) * 9.99, 0, 9).astype(int).reshape(-1, 8, 8).transpose(1, 0, 2)
    return "\n".join("  ".join("".join(shades[line]) for line in row) for row in rows)


def main(steps: int = 3000, batch_size: int = 64, rate: float = 1e-3) -> list[float]:
    """Train both, and return the discriminator's loss of every step."""
    images = (load_digits(return_X_y=True)[0] / 16).astype(np.float32)
    rngs = nnx.Rngs(0)
    generator, discriminator = network(NOISE, PIXELS, rngs), network(PIXELS, 1, rngs)
    for_generator = nnx.Optimizer(generator, gradx.adam(rate, b1=0.5), wrt=nnx.Param)
    for_discriminator = nnx.Optimizer(discriminator, gradx.adam(rate, b1=0.5), wrt=nnx.Param)

    rng, losses = np.random.default_rng(1), []
    for step in range(steps):
        real = images[rng.choice(len(images), batch_size, replace=False)]
        loss = train_step(generator, discriminator, for_generator, for_discriminator, real, jax.random.key(step))
        losses.append(float(loss))
        if (step + 1) % max(1, steps // 6) == 0:
            drawn = generate(generator, jax.random.normal(jax.random.key(0), (1000, NOISE)))
            distance = frechet_distance(np.asarray(drawn), images)
            print(f"step {step + 1:4}   loss {losses[-1]:.3f}   Fréchet distance from the digits {distance:.2f}")
    print(picture(generate(generator, jax.random.normal(jax.random.key(0), (10, NOISE)))))
    return losses


if __name__ == "__main__":
    main()
