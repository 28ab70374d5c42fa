"""What XLA says of the compiled step of an optimizer: `python -m tests.benchmarks.compiled adamw ZeRO-1 4 2`.

A program of its own, for XLA reads its flags once. The step is scheduled by memory, as for an accelerator; for a CPU
XLA otherwise runs side by side what does not wait for one another, and holds all of it.
"""

import json
import os
import subprocess
import sys

import jax

from benchmarks.scaling.hlo import collectives
from benchmarks.scaling.plan import OPTIMIZERS, Transformer, step_of

SMALL = Transformer(64, 2, 192, vocabulary=256, key_width=32)
AXES = ("data", "model")
FLAGS = "--xla_cpu_enable_concurrency_optimized_scheduler=false"


def counts(name: str, layout: str, sizes: dict[str, int]) -> dict:
    """Return bytes of the arguments and of the whole step, FLOPs, and bytes sent by collective."""
    mesh = jax.make_mesh(tuple(sizes.values()), tuple(sizes))
    step, arguments = step_of(OPTIMIZERS[name](), SMALL, layout, mesh)
    with jax.set_mesh(mesh):
        compiled = jax.jit(step, donate_argnums=(0, 1)).lower(*arguments).compile()
    memory = compiled.memory_analysis()
    rest = memory.output_size_in_bytes - memory.alias_size_in_bytes + memory.temp_size_in_bytes
    return {
        "arguments": memory.argument_size_in_bytes,
        "step": memory.argument_size_in_bytes + rest,
        "flops": compiled.cost_analysis()["flops"],
        "sent": collectives(compiled.as_text())[1],
    }


def ask(name: str, layout: str, sizes: dict[str, int]) -> dict:
    """Return `counts` from a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.compiled", name, layout, *map(str, sizes.values())]
    environment = os.environ | {"XLA_FLAGS": FLAGS, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)
    wanted, lies, *lengths = sys.argv[1:]
    print(json.dumps(counts(wanted, lies, dict(zip(AXES, map(int, lengths), strict=False)))))
