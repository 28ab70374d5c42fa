"""Several devices for the sharding tests, and programs that are quick to compile, before jax starts."""

import gc
import os
from importlib.metadata import version

if version("jaxlib").startswith("0.10."):  # later compilers have no other emitters
    QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '')}"  # a tenth of a second less for each program

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
# Most tests run a program once: LLVM's optimizations cost more than they save. Fusions, which are counted, stay.
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def settled_heap():
    """Whatever looks for leaks collects garbage at every trace: let it pass over what was there before."""
    gc.freeze()
    yield
    gc.unfreeze()
