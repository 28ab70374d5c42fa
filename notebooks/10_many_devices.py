# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Many devices, and a run that is killed
#
# An optimizer's state is as large as the model, or twice that. On several devices it need not lie whole on each. Here
# eight virtual devices of one computer show where arrays lie, what each device holds, and how a training that is killed
# goes on, on as many devices or on fewer. On real ones nothing of the code changes.
#
# **Goal**: lay out a state, keep checkpoints, survive a crash. **Time**: 20 minutes.

# %%
import sys

if "google.colab" in sys.modules:  # there only; upload the wheel, which `python -m build` makes, beside this notebook
    from IPython import get_ipython

    get_ipython().run_line_magic("pip", "install --quiet gradx-*.whl flax matplotlib mlxtend scikit-learn")

# %%
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from matplotlib.patches import Rectangle

import gradx

jax.config.update("jax_num_cpu_devices", 8)
# %matplotlib inline

# %% [markdown]
# ## Where arrays lie
#
# A mesh gives the devices names for directions: here one, `"data"`, along which batches are split. A sharding says for
# each axis of an array along which direction of the mesh it is split; `P()` is whole on every device.

# %%
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))

rng = np.random.default_rng(0)
host = {"hidden": rng.normal(size=(64, 128)) / 8, "bias": np.zeros(128), "out": rng.normal(size=(128, 10)) / 11}
host = {name: x.astype(np.float32) for name, x in host.items()}
params = jax.device_put(host, whole)

# %% [markdown]
# Three layouts of AdamW. *Replicated*: parameters and state are whole on each device. *ZeRO-1*: parameters are whole,
# the state is split. *FSDP*: parameters are split too, and the state follows them.

# %%
adamw = gradx.adamw(1e-3)
split = {name: NamedSharding(mesh, P(*("data" if n % 8 == 0 and i == 0 else None for i, n in enumerate(x.shape))))
         for name, x in host.items()}  # fmt: skip
LAYOUTS = {
    "replicated": (params, "like_params"),
    "ZeRO-1": (params, "zero1"),
    "FSDP": (jax.device_put(host, split), "like_params"),
}
COLOURS = plt.colormaps["viridis"](np.linspace(0, 1, 8))


def draw(axis, x):
    """Draw an array as what each device holds of it: one colour for each device, grey for what all of them hold."""
    height, width = x.shape if x.ndim == 2 else (1, *x.shape)
    for device, shard in enumerate(x.addressable_shards):
        first, last = ((0, 0, *(part.start or 0 for part in shard.index))[-2:], (1, *shard.data.shape)[-2:])
        colour = "0.75" if x.is_fully_replicated else COLOURS[device]
        axis.add_patch(Rectangle((first[1], first[0]), last[1], last[0], facecolor=colour, edgecolor="white"))
        if not x.is_fully_replicated:
            centre = first[1] + last[1] / 2, first[0] + last[0] / 2
            axis.annotate(
                str(device), centre, ha="center", va="center", fontsize=7, color="white" if device < 5 else "k"
            )
    axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    if x.is_fully_replicated:
        axis.annotate("all", (width / 2, height / 2), ha="center", va="center", fontsize=9)


figure, axes = plt.subplots(3, 6, figsize=(9, 4.6), layout="constrained")
for line, (layout, (placed, rule)) in zip(axes, LAYOUTS.items(), strict=True):
    state = gradx.sharding.init(adamw, placed, mesh, rule)
    arrays = {"": placed, "nu of ": gradx.tree.get(state, "nu")}
    shown = {f"{of}{name}": tree[name] for name in host for of, tree in arrays.items()}
    for axis, (name, x) in zip(line, shown.items(), strict=True):
        draw(axis, x)
        axis.set_title(name, fontsize=9)
    line[0].set_ylabel(layout)
plt.show()

# %% [markdown]
# Under ZeRO-1 each moment is split along its largest axis that eight divides; mu lies as nu does. In words, with the
# reason for each leaf:

# %%
print(gradx.sharding.describe_shardings(adamw, params, mesh, "zero1"))

# %% [markdown]
# ## What each device holds
#
# Measured, not computed: the bytes of the arrays on the first device. No method is too odd to be split, matrix factors
# and factored moments included; what no device count divides stays whole, and is small.

# %%
METHODS = {
    "SGD + momentum": gradx.sgd(0.1, momentum=0.9),
    "Adafactor": gradx.adafactor(0.01, min_dim_size_to_factor=32),
    "Muon": gradx.muon(0.02, muon_weight_dimension_numbers={"hidden": True, "bias": False, "out": False}),
    "AdamW": adamw,
    "SOAP": gradx.soap(0.01, weight_dimension_numbers={"hidden": True, "bias": False, "out": False}),
}


def kilobytes(tree):
    """Return what the first device holds of a tree."""
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree)) / 1024


held = {
    name: [kilobytes(gradx.sharding.init(tx, params, mesh, rule)) for rule in ("like_params", "zero1")]
    for name, tx in METHODS.items()
}
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for i, rule in enumerate(("replicated", "ZeRO-1")):
    bars = axis.barh(np.arange(len(held)) - 0.2 + 0.4 * i, [x[i] for x in held.values()], 0.38, label=rule)
    axis.bar_label(bars, fmt="%.0f", padding=3)
axis.set(yticks=range(len(held)), yticklabels=held, xlabel="KiB of state on one device")
axis.margins(x=0.1)
axis.invert_yaxis()
axis.legend()
plt.show()

# %% [markdown]
# ## The step
#
# `zero1` around the optimizer, `data_parallel` around the gradient: each device computes on its own rows, gets its part
# of the sum, updates that, and the parts are gathered. The compiled program says what goes over the wire: a
# reduce-scatter and an all-gather for each parameter.

# %%
TRAINING = '''
"""Train on scanned digits: python train.py FOLDER DEVICES STEPS"""
import sys

import jax

folder, devices, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
jax.config.update("jax_num_cpu_devices", devices)

import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from sklearn.datasets import load_digits

import gradx

mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
images, labels = load_digits(return_X_y=True)
images, labels = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)
keys = jax.random.split(jax.random.key(0))
params = {"hidden": jax.random.normal(keys[0], (64, 128)) / 8, "out": jax.random.normal(keys[1], (128, 10)) / 11}
params = jax.device_put(params | {"bias": jnp.zeros(128)}, whole)
tx = gradx.sharding.zero1(gradx.adamw(gradx.cosine_decay_schedule(3e-3, 120)))


def loss(params, batch):
    x, y = batch
    logits = jnp.tanh(x @ params["hidden"] + params["bias"]) @ params["out"]
    return gradx.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()


@jax.jit
def step(params, state, batch):
    value, grads = gradx.sharding.data_parallel(jax.value_and_grad(loss))(params, batch)
    updates, state = tx.update(grads, state, params)
    return gradx.apply_updates(params, updates), state, value


try:
    first, params, state, *_ = gradx.checkpoint.restore(folder, tx, params)
except FileNotFoundError:  # nothing was kept yet
    first, state = 0, tx.init(params)
for i in range(first, steps):
    chosen = jax.random.randint(jax.random.key(i), (64,), 0, len(labels))
    params, state, value = step(params, state, jax.device_put((images[chosen], labels[chosen]), rows))
    print(i, float(value), flush=True)
    if (i + 1) % 20 == 0:
        saving = gradx.checkpoint.save(folder, i + 1, tx, state, params, keep=2, asynchronous=True)
saving.wait()
np.savez(f"{folder}.npz", **params)
'''
work = Path(tempfile.mkdtemp())
(work / "train.py").write_text(TRAINING)
tx = gradx.sharding.zero1(adamw)


def loss(params, x):
    return jnp.mean((jnp.tanh(x @ params["hidden"] + params["bias"]) @ params["out"]) ** 2)


def step(params, state, batch):
    value, grads = gradx.sharding.data_parallel(jax.value_and_grad(loss))(params, batch)
    updates, state = tx.update(grads, state, params)
    return gradx.apply_updates(params, updates), state, value


program = jax.jit(step).lower(params, tx.init(params), jax.device_put(jnp.ones((64, 64)), rows)).compile().as_text()
for name in ("reduce-scatter", "all-gather", "all-to-all"):
    print(f"{name}: {program.count(f' {name}(') + program.count(f' {name}-start(')}")

# %% [markdown]
# ## Kill it
#
# The text above is a whole training: it goes on from the last checkpoint if there is one, and keeps one every twenty
# steps, written in the background. We start it in processes of its own. One is left alone. Another is killed after step
# 75 as the system kills what uses too much memory: at once, without a word. It is then started again by the same
# command, and once more, from a copy of what was left, on four devices.


# %%
def run(folder, devices=8, kill_at=None):
    """Run the training, kill it where that is said, and return the steps that it took with their losses."""
    command = [sys.executable, work / "train.py", work / folder, str(devices), "120"]
    losses = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for line in process.stdout:
            number, value = line.split()
            losses[int(number)] = float(value)
            if int(number) == kill_at:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == (0 if kill_at is None else -signal.SIGKILL)
    return losses


alone = run("alone")
begun = run("killed", kill_at=75)
shutil.copytree(work / "killed", work / "moved")
resumed, fewer = run("killed"), run("moved", devices=4)

figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained")
axis.plot(*zip(*alone.items(), strict=True), color="0.8", linewidth=5, label="left alone")
axis.plot(*zip(*begun.items(), strict=True), label="killed after step 75")
axis.plot(*zip(*resumed.items(), strict=True), "--", label=f"started again: goes on at step {min(resumed)}")
axis.axvline(75, color="k", linewidth=0.8)
axis.set(xlabel="step", ylabel="loss on the batch", yscale="log")
axis.legend()
plt.show()

# %% [markdown]
# What was done since the last checkpoint is done again, and comes out the same. The parameters at the end are those of
# the run that was left alone, to the last bit. On four devices a batch is summed in another order, and float32 shows.

# %%
ends = {name: dict(np.load(work / f"{name}.npz")) for name in ("alone", "killed", "moved")}
for name in ("killed", "moved"):
    distance = max(float(np.max(np.abs(ends[name][key] - x))) for key, x in ends["alone"].items())
    print(f"{name}: farthest entry {distance:.0e} away,", "bit-equal" if distance == 0 else "not bit-equal")

# %% [markdown]
# ## When a file is damaged
#
# A checkpoint counts once all of its files and their check sums are written. We cut the last byte off a file of the
# latest; `restore` says which it is, and takes the one before. `restored.report` says what became of every number.

# %%
latest = max((x for x in (work / "killed").iterdir()), key=lambda x: int(x.name))
victim = max((x for x in latest.rglob("*") if x.is_file()), key=lambda x: x.stat().st_size)
victim.write_bytes(victim.read_bytes()[:-1])

like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), params)
tx = gradx.sharding.zero1(gradx.adamw(gradx.cosine_decay_schedule(3e-3, 120)))
with warnings.catch_warnings(action="ignore"):
    restored = gradx.checkpoint.restore(work / "killed", tx, like)
for step_refused, reason in restored.refused.items():
    print(f"step {step_refused} is refused:", reason.replace(str(work), "runs"))
print(f"step {restored.step} is taken:", restored.report)

# %% [markdown]
# ## The optimizer may change
#
# Parts are found by their names, not by their places. Put clipping before it, accumulate over four batches: what stays
# goes on, and the report says what is new.

# %%
other = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.MultiSteps(gradx.adamw(1e-3), 4))
print(gradx.checkpoint.restore(work / "killed", other, like, step=restored.step).report)

# %% [markdown]
# ## Exercise
#
# Change `adamw` to `lion` in the middle of the run: `gradx.checkpoint.migrate(old, new, state, params)`. What is kept,
# what is left out, and what would have to be made up on the way back?
#
# <details><summary>Answer</summary>
#
# mu and the counts are kept, nu is left out. On the way back nu starts at the mean square of mu: zeros beside an old
# count would make the first steps thirty times too long.
#
# </details>
#
# **Next**: the pages on [devices](../docs/sharding.md) and on [checkpoints](../docs/checkpoints.md).
