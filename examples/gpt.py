"""A small GPT learns to write like Python's reference manual: trained, stopped, resumed, sampled. In Flax nnx.

Shows `checkpoint.save` and `restore` for parameters and optimizer state, a resumed run that goes on as if nothing had
been, and a step on bare arrays, `nnx.split` and `nnx.merge` around it: it costs less than `nnx.jit` at each call.
"""

import contextlib
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import gradx
from gradx import checkpoint

LENGTH = 64
TEXT = np.frombuffer("\n".join(topics[name] for name in sorted(topics)).encode(), np.uint8)
"""The texts behind `help()`: they come with Python."""


class Block(nnx.Module):
    """Attention to what came before, then a perceptron."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.norm1, self.norm2 = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, width, decode=False, use_bias=False, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.norm1(x), mask=nnx.make_causal_mask(x[..., 0]))
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


class GPT(nnx.Module):
    """From bytes [n, LENGTH] to the logits of the byte after each."""

    def __init__(self, width: int, layers: int, rngs: nnx.Rngs):
        self.bytes, self.places = nnx.Embed(256, width, rngs=rngs), nnx.Embed(LENGTH, width, rngs=rngs)
        self.blocks = nnx.List([Block(width, rngs) for _ in range(layers)])
        self.norm, self.head = nnx.LayerNorm(width, rngs=rngs), nnx.Linear(width, 256, rngs=rngs)

    def __call__(self, text):
        x = self.bytes(text) + self.places(jnp.arange(LENGTH))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def train(directory: Path, steps: int, stop: int, width: int, layers: int, batch_size: int):
    """Train up to the step `stop` of a run of `steps`, from the last checkpoint on if there is one; save at the end."""
    graph, params = nnx.split(GPT(width, layers, nnx.Rngs(0)), nnx.Param)
    schedule = gradx.warmup_cosine_decay_schedule(0.0, 1e-2, warmup_steps=steps // 10, decay_steps=steps)
    is_kernel = jax.tree.map(lambda p: p.ndim > 1, params)
    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(schedule, b2=0.99, weight_decay=0.05, mask=is_kernel))
    state = tx.init(params)

    @jax.jit
    def train_step(params, state, text):
        def loss_of(params):
            logits = nnx.merge(graph, params)(text[:, :-1])
            return gradx.losses.softmax_cross_entropy_with_integer_labels(logits, text[:, 1:]).mean()

        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state_after = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state_after, loss

    start = 0
    with contextlib.suppress(FileNotFoundError):  # nothing was saved yet
        start, params, state, *_ = checkpoint.restore(directory, tx, params)
        print(f"step {start:4}   resumed")
    losses = []
    for step in range(start, stop):
        places = np.random.default_rng(step).integers(0, len(TEXT) - LENGTH, batch_size)  # a step has its own text
        text = TEXT[places[:, None] + np.arange(LENGTH + 1)].astype(np.int32)
        params, state, loss = train_step(params, state, text)
        losses.append(float(loss))
        if (step + 1) % max(1, steps // 8) == 0:
            print(f"step {step + 1:4}   {loss / np.log(2):.3f} bits per byte")
    checkpoint.save(directory, stop, tx, state, params, keep=2)
    return nnx.merge(graph, params), losses


def sample(model: GPT, letters: int, temperature: float = 0.7) -> str:
    """Let the model write on after a start of its text."""
    graph, params = nnx.split(model)

    @jax.jit
    def following(params, window, key):
        return jax.random.categorical(key, nnx.merge(graph, params)(window)[0, -1] / temperature)

    written = list(TEXT[:LENGTH])
    for i in range(letters):
        window = jnp.asarray(written[-LENGTH:], jnp.int32)[None]
        written.append(int(following(params, window, jax.random.key(i))))
    return bytes(written[LENGTH:]).decode(errors="replace")


def main(steps: int = 800, width: int = 64, layers: int = 2, batch_size: int = 16, letters: int = 300) -> list[float]:
    """Train half of the way, lose everything but the checkpoint, train on, and return the loss of every step."""
    with tempfile.TemporaryDirectory() as directory:
        _, first = train(Path(directory), steps, steps // 2, width, layers, batch_size)
        model, second = train(Path(directory), steps, steps, width, layers, batch_size)
    print(sample(model, letters))
    return first + second


if __name__ == "__main__":
    main()
