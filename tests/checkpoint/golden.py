"""Files of each version of the format, to be read for ever; `python -m tests.checkpoint.golden` writes today's.

`state_dicts_N.json.gz` holds for every optimizer of that time's zoo the description, and names, dtypes and shapes of
the entries, whose values `pattern` tells; `checkpoint_N` is a directory that `save` wrote.
"""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from gradx import checkpoint
from gradx.checkpoint import files
from gradx.checkpoint.state_dict import FORMAT
from gradx.testing import example_params
from tests.zoo import ZOO

ROOT = Path(__file__).parent / "golden"
STEP = 12


def pattern(name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers that the name tells."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return np.asarray(rng.integers(0, 2 if dtype == "bool" else 100, shape)).astype(jnp.dtype(dtype))


def optimizer() -> gradx.GradientTransformation:
    """Return the one whose checkpoint is kept."""
    schedule = gradx.linear_schedule(0.1, 0.0, 100)
    inside = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(schedule, mu_dtype=jnp.bfloat16))
    return gradx.chain(gradx.add_noise(0.1, 0.5, seed=0), gradx.MultiSteps(inside, 2))


def stored(tx: gradx.GradientTransformation) -> tuple[Any, Any]:
    """Return parameters and a state with the numbers that their names tell."""
    params = example_params()
    names = gradx.tree.map_with_path(lambda name, x: pattern(name, str(x.dtype), x.shape), params)
    state = tx.init(params)
    entries = {k: pattern(k, str(x.dtype), x.shape) for k, x in entries_of(tx, state, params).items()}
    filled = checkpoint.state_dict(tx, state, params) | entries
    return jax.tree.map(jnp.asarray, names), checkpoint.load_state_dict(tx, filled, params)[0]


def entries_of(tx: gradx.GradientTransformation, state: Any, params: Any) -> dict[str, Any]:
    """Return a state dict without its description."""
    return {name: x for name, x in checkpoint.state_dict(tx, state, params).items() if name != "gradx"}


def write() -> None:
    """Write today's files."""
    params, found = example_params(), {}
    for row in ZOO:
        state = row.tx.init(params)
        types = {k: [str(x.dtype), list(x.shape)] for k, x in entries_of(row.tx, state, params).items()}
        found[str(row)] = {"gradx": checkpoint.state_dict(row.tx, state, params)["gradx"], "entries": types}
    ROOT.mkdir(exist_ok=True)
    text = json.dumps(found, indent=0, sort_keys=True).encode()
    (ROOT / f"state_dicts_{FORMAT}.json.gz").write_bytes(gzip.compress(text, mtime=0))
    params, state = stored(optimizer())
    directory = ROOT / f"checkpoint_{FORMAT}"
    checkpoint.save(directory, STEP, optimizer(), state, params)
    for path in directory.rglob("commit_success.txt"):
        path.write_text("committed\n")  # Orbax says there where it was
    files.seal(directory / str(STEP))


if __name__ == "__main__":
    write()
