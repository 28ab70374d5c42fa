"""Meta-learning through the optimizer: initial weights, learning rate and momentum, all learned by gradient descent.

Shows that a transformation is a tree whose leaves are its hyperparameters: `jax.grad` goes through five steps of the
inner optimizer and has its gradient beside that of the weights, and the outer optimizer moves both. The tasks are sine
waves of which ten points are seen: Finn et al. 2017, arXiv:1703.03400; learned rates as in arXiv:1707.09835.
"""

import jax
import jax.numpy as jnp

import gradx

INNER_STEPS, POINTS = 5, 10


def init_params(key, sizes=(1, 40, 40, 1)):
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes, sizes[1:], strict=False)
    return [(jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), jnp.zeros(m)) for k, n, m in pairs]


def network(params, x):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def loss_of(params, x, y):
    return gradx.losses.squared_error(network(params, x), y).mean()


def wave(key):
    """Return POINTS points of a sine wave to learn from, and as many to be judged by."""
    k1, k2, k3 = jax.random.split(key, 3)
    height, phase = jax.random.uniform(k1, minval=0.1, maxval=5.0), jax.random.uniform(k2, maxval=jnp.pi)
    x = jax.random.uniform(k3, (2 * POINTS, 1), minval=-5.0, maxval=5.0)
    y = height * jnp.sin(x - phase)
    return (x[:POINTS], y[:POINTS]), (x[POINTS:], y[POINTS:])


def adapted_loss(meta, key):
    """Return the loss on the unseen points of one wave, after a few steps on those seen."""
    params, inner = meta
    seen, unseen = wave(key)

    def step(carry, _):
        params, state = carry
        updates, state = inner.update(jax.grad(loss_of)(params, *seen), state, params)
        return (gradx.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, inner.init(params)), length=INNER_STEPS)
    return loss_of(params, *unseen)


def mean_loss(meta, key, tasks):
    return jax.vmap(adapted_loss, (None, 0))(meta, jax.random.split(key, tasks)).mean()


def main(steps: int = 3000, tasks: int = 16, rate: float = 3e-3) -> list[float]:
    """Meta-train, and return the loss of every step, after adaptation to its tasks."""
    meta = (init_params(jax.random.key(0)), gradx.sgd(1e-3, momentum=0.5))
    movers = {"weights": gradx.adam(rate), "numbers": gradx.adam(rate / 10)}  # an inner rate too high costs everything
    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.partition(movers, lambda meta: ("weights", "numbers")))
    state = tx.init(meta)

    @jax.jit
    def train_step(meta, state, key):
        loss, grads = jax.value_and_grad(mean_loss)(meta, key, tasks)
        updates, state = tx.update(grads, state, meta)
        return gradx.apply_updates(meta, updates), state, loss

    test_loss = jax.jit(lambda meta: mean_loss(meta, jax.random.key(1), 200))
    losses = []
    for step in range(steps):
        if step % max(1, steps // 6) == 0:
            print(f"step {step:4}   error on new waves {test_loss(meta):.3f}")
        meta, state, loss = train_step(meta, state, jax.random.key(100 + step))
        losses.append(float(loss))
    print(f"step {steps:4}   error on new waves {test_loss(meta):.3f}   by {meta[1]}")
    return losses


if __name__ == "__main__":
    main()
