"""A training loop that keeps checkpoints and goes on from them; `test_crash.py` kills it.

`python -m tests.checkpoint.loop DIRECTORY RESULT STEPS` says where it is, and at the end writes the last parameters to
RESULT, with those of a run that was never interrupted and kept no checkpoints.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from gradx import checkpoint

EVERY = 3


def optimizer() -> gradx.GradientTransformation:
    """Return one that keeps counts, moments, a random key and half a batch."""
    schedule = gradx.warmup_cosine_decay_schedule(0.0, 0.05, 5, 50)
    inside = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.add_noise(0.01, 0.5, seed=1), gradx.adamw(schedule))
    return gradx.MultiSteps(inside, 2)


def start() -> gradx.Params:
    """Return the first parameters."""
    rng = np.random.default_rng(0)
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in (("w", (64, 32)), ("b", (32,)))}


@functools.partial(jax.jit, donate_argnums=(0, 1))
def train(params: gradx.Params, state: gradx.State, step: int) -> tuple[gradx.Params, gradx.State]:
    """Take one step on a batch that the step's number tells."""
    x = jax.random.normal(jax.random.key(step), (16, 64))
    grads = jax.grad(lambda p: jnp.mean((jnp.tanh(x @ p["w"] + p["b"]) - x[:, :32]) ** 2))(params)
    updates, state = optimizer().update(grads, state, params)
    return gradx.apply_updates(params, updates), state


def go_on(directory: str, steps: int) -> gradx.Params:
    """Go on from the last checkpoint to the end."""
    tx, params = optimizer(), start()
    try:
        found = checkpoint.restore(directory, tx, params)
        first, params, state = found.step, found.params, found.state
        assert found.report.is_complete, found.report
    except FileNotFoundError:
        first, state = 0, tx.init(params)
    print("from", first, flush=True)
    saving = None
    for step in range(first, steps):
        params, state = train(params, state, step)
        print("step", step, flush=True)
        if (step + 1) % EVERY == 0:
            in_background = (step + 1) % (2 * EVERY) == 0
            saving = checkpoint.save(directory, step + 1, tx, state, params, keep=2, asynchronous=in_background)
    if saving:
        saving.wait()
    return params


def undisturbed(steps: int) -> gradx.Params:
    """Return the parameters of a run without checkpoints."""
    params = start()
    state = optimizer().init(params)
    for step in range(steps):
        params, state = train(params, state, step)
    return params


if __name__ == "__main__":
    place, result, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    both = {"broken": go_on(place, number), "whole": undisturbed(number)}
    np.savez(result, **{f"{run}|{name}": x for run, params in both.items() for name, x in params.items()})
    print("done", flush=True)
