"""Data parallel with ZeRO-1: every device has its rows of the batch, and its part of the optimizer's state.

Shows `sharding.data_parallel`, which reduce-scatters gradients, and `sharding.zero1`, which updates a part on each
device and gathers the updates. Run as a program it makes four devices of one CPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from sklearn.datasets import load_digits

import gradx
from gradx import sharding


def init_params(key, sizes=(64, 256, 256, 16)):
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes, sizes[1:], strict=False)
    return [{"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)} for k, n, m in pairs]


def logits_of(params, x):
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def loss_of(params, batch):
    images, labels = batch
    return gradx.losses.softmax_cross_entropy_with_integer_labels(logits_of(params, images), labels).mean()


def bytes_on_one_device(tree) -> int:
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))


def main(steps: int = 300, batch_size: int = 128, peak: float = 3e-3) -> list[float]:
    """Train on all devices there are, and return the loss of every step."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = (images[order] / 16).astype(np.float32), labels[order].astype(np.int32)

    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    params = jax.device_put(init_params(jax.random.key(0)), whole)
    schedule = gradx.warmup_cosine_decay_schedule(0.0, peak, warmup_steps=steps // 10, decay_steps=steps)
    tx = sharding.zero1(gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(schedule, weight_decay=0.05)))
    value_and_grad = sharding.data_parallel(jax.value_and_grad(loss_of))

    @jax.jit
    def train_step(params, state, batch):
        loss, grads = value_and_grad(params, batch)
        updates, state = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state, loss

    state = tx.init(params)
    kib = [bytes_on_one_device(tree) / 1024 for tree in (params, state)]
    print(f"{mesh.size} devices, each with {kib[0]:.0f} KiB of parameters and {kib[1]:.0f} KiB of the state")

    rng, losses = np.random.default_rng(1), []
    for step in range(steps):
        chosen = rng.choice(1400, batch_size, replace=False)
        params, state, loss = train_step(params, state, jax.device_put((images[chosen], labels[chosen]), rows))
        losses.append(float(loss))
        if (step + 1) % max(1, steps // 5) == 0:
            right = jnp.mean(logits_of(params, images[1400:]).argmax(axis=-1) == labels[1400:])
            print(f"step {step + 1:4}   loss {losses[-1]:.4f}   test accuracy {right:.1%}")
    return losses


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 4)
    main()
