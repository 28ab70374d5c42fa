"""Several devices for the sharding tests, and programs that are quick to compile, before jax starts."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

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


GROWTH = 1e9
"""Bytes by which a worker may grow before it forgets its compiled programs: two of them share a machine with 24 GiB."""
MAPPED = 50_000
"""Regions of memory that a worker may have: each program has several, and Linux allows a process 65,530."""
EVERY = 20
"""Tests after which regions are counted; that takes as long as a short test."""
grown_to, finished = 2e9, 0


def resident() -> int:
    """Return the bytes that this process holds in memory, 0 where nobody tells."""
    statistics = Path("/proc/self/statm")
    return int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statistics.exists() else 0


def mapped() -> int:
    """Return the number of this process's regions of memory, 0 where nobody tells."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0


def pytest_runtest_teardown():
    """Forget compiled programs now and then; their memory is used again, and never given back to the system."""
    global grown_to, finished
    finished += 1
    has_grown = (now := resident()) > grown_to + GROWTH
    if has_grown or (finished % EVERY == 0 and mapped() > MAPPED):
        jax.clear_caches()
        gc.collect()
    if has_grown:
        grown_to = max(now, resident())
