"""Groups of parameters with rates of their own, one frozen; the step read off the state by its type."""

import jax
import jax.numpy as jnp
import optax


def label(params):
    return {name: "head" if name == "head" else "frozen" if name == "embedding" else "body" for name in params}


def main():
    params = {"embedding": jnp.ones((4, 3)), "body": 0.3 * jnp.ones((3, 3)), "head": jnp.ones(3)}
    tx = optax.multi_transform(
        {
            "head": optax.chain(optax.trace(decay=0.9), optax.scale(-0.05)),
            "body": optax.adamw(optax.cosine_decay_schedule(1e-2, 30), weight_decay=0.01),
            "frozen": optax.set_to_zero(),
        },
        label,
    )
    assert isinstance(tx, optax.GradientTransformation)
    state = tx.init(params)
    tokens = jnp.arange(8) % 4

    @jax.jit
    def step(params, state):
        def loss_of(p):
            logits = jnp.tanh(p["embedding"][tokens] @ p["body"]) @ p["head"]
            return optax.sigmoid_binary_cross_entropy(logits, (tokens % 2).astype(jnp.float32)).mean()

        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    losses = []
    for _ in range(20):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    body = state.inner_states["body"].inner_state
    steps = [int(s.count) for s in body if isinstance(s, optax.ScaleByScheduleState)]
    hidden = [x for x in jax.tree.leaves(body, is_leaf=lambda x: isinstance(x, optax.MaskedNode))]
    masked = sum(isinstance(x, optax.MaskedNode) for x in hidden)
    return [*losses, *map(float, steps), float(masked), *params["embedding"].ravel().tolist()]
