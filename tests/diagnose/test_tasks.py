"""`explain` has nothing to say of the tasks on real data, trained with their recipes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from benchmarks import tasks
from benchmarks.roster import RECIPE
from gradx import diagnose

STEPS = {"control": 15, "convex": 3, "gan": 150, "images": 60, "language": 60, "recurrent": 60, "stream": 100}
OTHERWISE = 300
LOSS_SAYS_NOTHING = ("control", "gan")
"""Neither a policy's loss nor an adversary's falls while it learns."""


@gradx.transformation
def watched(tx):
    """Keep the statistics of the last step in the state: the tasks' own training steps run as they are."""

    def init(params):
        return tx.init(params), jax.tree.map(jnp.zeros_like, diagnose.step_statistics(params, params, params, 0.0))

    def update(updates, state, params, value):
        moved, inner = tx.update(updates, state[0], params)
        return moved, (inner, diagnose.step_statistics(updates, moved, params, value))

    return init, update


def history(task, steps):
    """Train and return the statistics of all steps, and the names of the leaves."""
    name = RECIPE if RECIPE in task.learning_rates else task.textbook
    learner = task.learner(name, True)
    tx = watched(task.roster[name](task.learning_rates[name], steps * learner.updates_per_step))

    def step(carry, now):
        inputs, key = now
        carry, _ = learner.step(tx, carry, learner.data, inputs, key)
        return carry, carry.state[1]

    start = learner.start(tx, 0)
    each = (learner.inputs(0, 0, steps), jax.random.split(jax.random.key(0), steps))
    _, seen = jax.jit(lambda carry: jax.lax.scan(step, carry, each))(start)
    return seen, gradx.tree.paths(start.params)


LONG = ("gan", "images", "recurrent", "stream")  # a perceptron, a Transformer and a policy remain


@pytest.mark.parametrize("name", [pytest.param(x, marks=pytest.mark.slow) if x in LONG else x for x in tasks.names()])
def test_recipes_train_in_peace(name):
    try:
        task = tasks.load(name)
    except tasks.Unavailable as problem:
        pytest.skip(str(problem))
    seen, names = history(task, STEPS.get(name, OTHERWISE))
    assert np.all(np.max(seen.update_norm, 1) > 0)
    if name in LOSS_SAYS_NOTHING:
        seen = seen._replace(loss=None)
    assert diagnose.explain(seen, names) == []
