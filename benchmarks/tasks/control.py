"""Control: balance a pole on a cart (CartPole-v1 of gymnax) by proximal policy optimization.

Schulman et al. 2017, arXiv:1707.06347, with generalized advantages (Schulman et al. 2016, arXiv:1506.02438). The
environment, the policy and the optimizer are one program. One step plays 16 carts for 64 moves and updates 16 times.
"""

from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
from flax import nnx

import gradx
from benchmarks.roster import ROSTER, with_recipe
from benchmarks.task import Carry, Learner, Look, Metric, Task
from gradx import GradientTransformation, Params, recipes

CARTS = 16
MOVES = 64
EPOCHS = 4
BATCHES = 4
WIDTH = 64
DISCOUNT = 0.99
TRACE = 0.95
"""Lambda of the generalized advantages."""
CLIP = 0.2
VALUE = 0.5
ENTROPY = 0.01
"""Weights in the loss."""
NORM = 0.5
"""To which gradients are clipped."""
EPISODES = 64
LONGEST = 500
"""An episode ends after so many moves, one reward each: the highest return."""

ENVIRONMENT, PARAMETERS = gymnax.make("CartPole-v1")


class ActorCritic(nnx.Module):
    """Two perceptrons, one for the logits of the two moves and one for the value: 9,155 parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.actor = nnx.List([nnx.Linear(4, WIDTH, rngs=rngs), nnx.Linear(WIDTH, WIDTH, rngs=rngs)])
        self.critic = nnx.List([nnx.Linear(4, WIDTH, rngs=rngs), nnx.Linear(WIDTH, WIDTH, rngs=rngs)])
        self.moves = nnx.Linear(WIDTH, 2, kernel_init=nnx.initializers.orthogonal(0.01), rngs=rngs)
        self.value = nnx.Linear(WIDTH, 1, rngs=rngs)

    def __call__(self, seen: jax.Array) -> tuple[jax.Array, jax.Array]:
        actor = critic = seen
        for layer in self.actor:
            actor = nnx.tanh(layer(actor))
        for layer in self.critic:
            critic = nnx.tanh(layer(critic))
        return self.moves(actor), self.value(critic)[..., 0]


GRAPH, _ = nnx.split(ActorCritic(nnx.Rngs(0)))


class Moves(NamedTuple):
    """What was played: arrays [moves, carts]."""

    seen: jax.Array
    action: jax.Array
    log_probability: jax.Array
    value: jax.Array
    reward: jax.Array
    """With the value of what would have come, where time ran out."""
    ended: jax.Array


def play(params: Params, carts: Any, seen: jax.Array, key: jax.Array) -> tuple[Any, jax.Array, Moves]:
    """Play by the policy's probabilities, and return the carts, what is seen last, and the moves."""
    network = nnx.merge(GRAPH, params)

    def move(carry: tuple, key: jax.Array) -> tuple:
        carts, seen = carry
        choose, proceed = jax.random.split(key)
        logits, value = network(seen)
        action = jax.random.categorical(choose, logits)
        chosen = log_probability(logits, action)
        step = jax.vmap(lambda k, cart, a: ENVIRONMENT.step(k, cart, a, PARAMETERS))
        after, carts, reward, fell, stopped, info = step(jax.random.split(proceed, CARTS), carts, action)
        reward = reward + DISCOUNT * jnp.where(stopped & ~fell, network(info["final_observation"])[1], 0.0)
        return (carts, after), Moves(seen, action, chosen, value, reward, fell | stopped)

    (carts, seen), moves = jax.lax.scan(move, (carts, seen), jax.random.split(key, MOVES))
    return carts, seen, moves


def advantages(moves: Moves, last: jax.Array) -> jax.Array:
    """Return the generalized advantage of every move; `last` is the value of what is seen in the end."""

    def back(carry: tuple, now: tuple) -> tuple:
        following, advantage = carry
        value, reward, ended = now
        surprise = reward + DISCOUNT * jnp.where(ended, 0.0, following) - value
        advantage = surprise + DISCOUNT * TRACE * jnp.where(ended, 0.0, advantage)
        return (value, advantage), advantage

    start = (last, jnp.zeros_like(last))
    return jax.lax.scan(back, start, (moves.value, moves.reward, moves.ended), reverse=True)[1]


def policy_loss(params: Params, moves: Moves, advantage: jax.Array, aim: jax.Array) -> jax.Array:
    """Return the clipped surrogate, the squared error of the value and the entropy, weighted."""
    logits, value = nnx.merge(GRAPH, params)(moves.seen)
    ratio = jnp.exp(log_probability(logits, moves.action) - moves.log_probability)
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage).mean()
    entropy = -jnp.sum(nnx.softmax(logits) * nnx.log_softmax(logits), axis=-1).mean()
    return -gain + VALUE * jnp.mean((value - aim) ** 2) / 2 - ENTROPY * entropy


def log_probability(logits: jax.Array, action: jax.Array) -> jax.Array:
    """Return the logarithm of the probability of each action."""
    return jnp.take_along_axis(nnx.log_softmax(logits), action[..., None], axis=-1)[..., 0]


def start(tx: GradientTransformation, seed: int) -> Carry:
    """Return a network and carts at their beginning."""
    _, params = nnx.split(ActorCritic(nnx.Rngs(seed)))
    seen, carts = reset(jax.random.key(seed), CARTS)
    return Carry(params, tx.init(params), (carts, seen))


def reset(key: jax.Array, number: int) -> tuple[jax.Array, Any]:
    """Return what is seen of so many new carts, and the carts."""
    seen, carts = jax.vmap(lambda k: ENVIRONMENT.reset(k, PARAMETERS))(jax.random.split(key, number))
    return seen, jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x), (number,)).astype(x.dtype), carts)


def step(tx: GradientTransformation, carry: Carry, data: None, inputs: None, key: jax.Array) -> tuple[Carry, jax.Array]:
    """Play, and update on every move four times."""
    playing, shuffling = jax.random.split(key)
    carts, seen, moves = play(carry.params, *carry.others, playing)
    advantage = advantages(moves, nnx.merge(GRAPH, carry.params)(seen)[1])
    played = (moves, advantage, advantage + moves.value)
    flat = jax.tree.map(lambda x: x.reshape(CARTS * MOVES, *x.shape[2:]), played)

    def update(carry: Carry, chosen: jax.Array) -> tuple:
        value, gradients = jax.value_and_grad(policy_loss)(carry.params, *jax.tree.map(lambda x: x[chosen], flat))
        return carry.descend(tx, gradients, value), value

    orders = [jax.random.permutation(k, CARTS * MOVES) for k in jax.random.split(shuffling, EPOCHS)]
    batches = jnp.concatenate(orders).reshape(EPOCHS * BATCHES, -1)
    carry, losses = jax.lax.scan(update, carry._replace(others=(carts, seen)), batches)
    return carry, jnp.mean(losses)


def look(carry: Carry, data: None, key: jax.Array) -> Look:
    """Play new episodes to their end, each move the likelier one; the test loss is the share of the return missed."""
    network = nnx.merge(GRAPH, carry.params)

    def move(now: tuple, key: jax.Array) -> tuple:
        seen, carts, running, total = now
        action = jnp.argmax(network(seen)[0], axis=-1)
        step = jax.vmap(lambda k, cart, a: ENVIRONMENT.step(k, cart, a, PARAMETERS))
        seen, carts, reward, fell, stopped, _ = step(jax.random.split(key, EPISODES), carts, action)
        return (seen, carts, running & ~(fell | stopped), total + jnp.where(running, reward, 0.0)), None

    begin, proceed = jax.random.split(jax.random.fold_in(key, LONGEST))
    seen, carts = reset(begin, EPISODES)
    beginning = (seen, carts, jnp.ones(EPISODES, bool), jnp.zeros(EPISODES))
    (*_, total), _ = jax.lax.scan(move, beginning, jax.random.split(proceed, LONGEST))
    return Look((LONGEST - total.mean()) / LONGEST, total.mean())


def clipped(name: str):
    """Return an optimizer of the roster behind a clip of the gradients' norm."""
    return lambda rate, steps: gradx.chain(gradx.clip_by_global_norm(NORM), ROSTER[name](rate, steps))


TASK = Task(
    title="CartPole by proximal policy optimization",
    metric=Metric("mean return", target=475.0, style=".1f", ceiling=500.0),
    learner=lambda name, tuning: Learner(None, start, step, look, updates_per_step=EPOCHS * BATCHES),
    learning_rates={
        "sgd": 0.3,
        "momentum": 0.03,
        "rmsprop": 3e-3,
        "adam": 3e-3,
        "adamw": 3e-3,
        "recipe": 3e-3,
    },
    steps=60,
    evaluate_every=3,
    step="1,024 moves",
    tuning_seeds=3,
    seeds=5,
    textbook="adam",
    source="Adam, as in Schulman et al. 2017, arXiv:1707.06347",
    roster=with_recipe(recipes.control) | {name: clipped(name) for name in ROSTER},
)
