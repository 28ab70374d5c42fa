"""A training loop that keeps checkpoints and goes on from them; `test_crash.py` kills it.

`python -m tests.checkpoint.loop DIRECTORY RESULT` writes the last parameters to RESULT.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from gradx import checkpoint

STEPS, EVERY = 40, 3


def optimizer() -> gradx.GradientTransformation:
    """Return one that keeps counts, moments, a random key and half a batch."""
    schedule = gradx.warmup_cosine_decay_schedule(0.0, 0.05, 5, STEPS)
    inside = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.add_noise(0.01, 0.5, seed=1), gradx.adamw(schedule))
    return gradx.MultiSteps(inside, 2)


def start() -> gradx.Params:
    """Return the first parameters."""
    rng = np.random.default_rng(0)
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in (("w", (64, 32)), ("b", (32,)))}


@functools.partial(jax.jit, donate_argnums=(0, 1))
def train(params: gradx.Params, state: gradx.State, step: jax.Array) -> tuple[gradx.Params, gradx.State]:
    """Take one step on a batch that the step's number tells."""
    x = jax.random.normal(jax.random.key(step), (16, 64))
    grads = jax.grad(lambda p: jnp.mean((jnp.tanh(x @ p["w"] + p["b"]) - x[:, :32]) ** 2))(params)
    updates, state = optimizer().update(grads, state, params)
    return gradx.apply_updates(params, updates), state


def main(directory: str, result: str) -> None:
    """Go on from the last checkpoint to the end."""
    tx, params = optimizer(), start()
    try:
        found = checkpoint.restore(directory, tx, params)
        first, params, state = found.step, found.params, found.state
        assert found.report.is_complete, found.report
    except (FileNotFoundError, checkpoint.CheckpointError) as error:
        print(error)
        first, state = 0, tx.init(params)
    print(f"from {first}", flush=True)
    saving = None
    for step in range(first, STEPS):
        params, state = train(params, state, step)
        if (step + 1) % EVERY == 0:
            in_background = (step + 1) % (2 * EVERY) == 0
            saving = checkpoint.save(directory, step + 1, tx, state, params, keep=2, asynchronous=in_background)
    if saving:
        saving.wait()
    np.savez(result, **params)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
