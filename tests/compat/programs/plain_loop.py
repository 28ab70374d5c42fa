"""A jitted loop as in the first tutorials: chain, schedule, clipping, apply_updates."""

import jax
import jax.numpy as jnp
import optax

x = jax.random.normal(jax.random.key(0), (64, 5))
y = x @ jnp.arange(5.0) + 1.0


def loss_of(params, batch):
    return jnp.mean(optax.l2_loss(batch[0] @ params["w"] + params["b"], batch[1]))


schedule = optax.warmup_cosine_decay_schedule(init_value=0.0, peak_value=0.3, warmup_steps=5, decay_steps=40)
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(learning_rate=schedule, weight_decay=1e-3))


@jax.jit
def step(params, opt_state, batch):
    loss, grads = jax.value_and_grad(loss_of)(params, batch)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def main():
    params = {"w": jnp.zeros(5), "b": jnp.zeros(())}
    opt_state = optimizer.init(params)
    losses = []
    for i in range(40):
        rows = slice(16 * (i % 4), 16 * (i % 4) + 16)
        params, opt_state, loss = step(params, opt_state, (x[rows], y[rows]))
        losses.append(float(loss))
    assert int(optax.tree.get(opt_state, "count", filtering=lambda path, _: "Adam" in str(path[-1]))) == 40
    return losses
