"""Proximal policy optimization balances a pole on a cart: environment, policy and optimizer in one compiled program.

Shows Adam behind a clip, with a rate that falls to zero, inside two nested scans. Schulman et al. 2017,
arXiv:1707.06347; advantages as in arXiv:1506.02438; the cart is CartPole-v1's.
"""

import jax
import jax.numpy as jnp

import gradx

CARTS, MOVES, LONGEST = 16, 64, 500
DISCOUNT, TRACE, CLIP = 0.99, 0.95, 0.2


def move(cart, action):
    """Return place, speed, angle and spin of carts [n, 4] a fiftieth of a second later."""
    speed, angle, spin = cart.T[1:]
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    push = (jnp.where(action == 1, 10.0, -10.0) + 0.05 * spin**2 * sin) / 1.1
    turn = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    return cart + 0.02 * jnp.stack([speed, push - 0.05 * turn * cos / 1.1, spin, turn], axis=1)


def new_carts(key):
    return jax.random.uniform(key, (CARTS, 4), minval=-0.05, maxval=0.05)


def perceptron(key, outputs, scale, width=64):
    def layer(key, gain, n, m):
        return jax.nn.initializers.orthogonal(gain)(key, (n, m)), jnp.zeros(m)

    a, b, c = jax.random.split(key, 3)
    return [layer(a, 1.4, 4, width), layer(b, 1.4, width, width), layer(c, scale, width, outputs)]


def network(params, seen):
    def through(layers, x):
        for w, b in layers[:-1]:
            x = jnp.tanh(x @ w + b)
        return x @ layers[-1][0] + layers[-1][1]

    return jax.nn.log_softmax(through(params["actor"], seen)), through(params["critic"], seen)[..., 0]


def chosen(log_probabilities, action):
    return jnp.take_along_axis(log_probabilities, action[..., None], axis=-1)[..., 0]


def play(params, carts, ages, key):
    """Play MOVES moves of every cart; what fell or grew old begins anew."""

    def one(now, key):
        (carts, ages), (k1, k2) = now, jax.random.split(key)
        log_probabilities, value = network(params, carts)
        action = jax.random.categorical(k1, log_probabilities)
        after, ages = move(carts, action), ages + 1
        fell = (jnp.abs(after[:, 0]) > 2.4) | (jnp.abs(after[:, 2]) > 12 * jnp.pi / 180)
        ended = fell | (ages >= LONGEST)
        # Where time ran out the cart would have gone on: its value stands for what would have come.
        reward = 1.0 + DISCOUNT * jnp.where(ended & ~fell, network(params, after)[1], 0.0)
        now = jnp.where(ended[:, None], new_carts(k2), after), jnp.where(ended, 0, ages)
        return now, ((carts, action, chosen(log_probabilities, action)), (value, reward, ended), fell)

    return jax.lax.scan(one, (carts, ages), jax.random.split(key, MOVES))


def advantages(played, last):
    def back(carry, now):
        (following, advantage), (value, reward, ended) = carry, now
        surprise = reward + DISCOUNT * jnp.where(ended, 0.0, following) - value
        advantage = surprise + DISCOUNT * TRACE * jnp.where(ended, 0.0, advantage)
        return (value, advantage), advantage

    return jax.lax.scan(back, (last, jnp.zeros_like(last)), played, reverse=True)[1]


def loss_of(params, seen, action, before, advantage, aim):
    log_probabilities, value = network(params, seen)
    ratio = jnp.exp(chosen(log_probabilities, action) - before)
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage).mean()
    entropy = -jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1).mean()
    return -gain + 0.5 * gradx.losses.l2_loss(value, aim).mean() - 0.01 * entropy


def main(steps: int = 100, peak: float = 3e-3) -> list[float]:
    """Play and learn 1,024 moves a step; return the share of moves of each that ended in a fall."""
    tx = gradx.chain(gradx.clip_by_global_norm(0.5), gradx.adam(gradx.linear_schedule(peak, 0.0, 16 * steps)))

    @jax.jit
    def learn(params, state, carts, ages, key):
        (carts, ages), (moves, played, fell) = play(params, carts, ages, key)
        advantage = advantages(played, network(params, carts)[1])
        data = [x.reshape(CARTS * MOVES, *x.shape[2:]) for x in (*moves, advantage, advantage + played[0])]

        def descend(carry, rows):
            params, state = carry
            grads = jax.grad(loss_of)(params, *(x[rows] for x in data))
            updates, state = tx.update(grads, state, params)
            return (gradx.apply_updates(params, updates), state), None

        orders = [jax.random.permutation(k, CARTS * MOVES) for k in jax.random.split(key, 4)]
        (params, state), _ = jax.lax.scan(descend, (params, state), jnp.concatenate(orders).reshape(16, -1))
        return params, state, carts, ages, fell.mean()

    k1, k2, k3 = jax.random.split(jax.random.key(0), 3)
    params = {"actor": perceptron(k1, 2, 0.01), "critic": perceptron(k2, 1, 1.0)}
    state, carts, ages, losses = tx.init(params), new_carts(k3), jnp.zeros(CARTS, int), []
    for step in range(steps):
        params, state, carts, ages, fell = learn(params, state, carts, ages, jax.random.key(1 + step))
        losses.append(float(fell))
        if (step + 1) % max(1, steps // 10) == 0:
            print(f"{1024 * (step + 1):6} moves   {1024 * losses[-1]:3.0f} falls in the last 1,024")
    return losses


if __name__ == "__main__":
    main()
