"""Haiku: two-level dicts of parameters, masks from `hk.data_structures`, a transformed function with state and keys."""

import haiku as hk
import jax
import jax.numpy as jnp
import optax


def net(x):
    x = jax.nn.relu(hk.Linear(8)(x))
    return hk.Linear(3)(x)


def main():
    x = jax.random.normal(jax.random.key(0), (60, 4))
    labels = jnp.argmax(x[:, :3] + 0.1, axis=1)
    model = hk.without_apply_rng(hk.transform(net))
    params = model.init(jax.random.PRNGKey(1), x)
    is_weight = hk.data_structures.map(lambda module, name, value: name == "w", params)
    groups = hk.data_structures.map(lambda module, name, value: "last" if module == "linear_1" else "first", params)
    tx = optax.chain(
        optax.add_decayed_weights(1e-3, mask=is_weight),
        optax.multi_transform({"first": optax.rmsprop(3e-3, decay=0.95), "last": optax.adam(1e-2, b1=0.8)}, groups),
    )
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        def loss_of(params):
            return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, x), labels).mean()

        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    losses = []
    for _ in range(25):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    return losses
