"""Kill a training loop at random moments and let it go on: the parameters are those of a run that nobody disturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gradx.checkpoint import files
from tests.checkpoint.loop import EVERY, STEPS

ROOT = Path(__file__).parents[2]


def begin(directory, result):
    command = [sys.executable, "-u", "-m", "tests.checkpoint.loop", str(directory), str(result)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)


def first_step(process):
    """Return the step from which the loop goes on, once it has begun."""
    for line in process.stdout:
        if line.startswith("from "):
            return int(line.split()[1])
    raise AssertionError("the loop ended before it began")


def finished(process):
    output, _ = process.communicate()
    assert "done" in output
    assert process.returncode == 0


def crash(tmp_path, moments):
    """Run it undisturbed and see how long it takes; then kill another run that many times; return both results."""
    whole, broken, directory = tmp_path / "whole.npz", tmp_path / "broken.npz", tmp_path / "broken"
    process = begin(tmp_path / "whole", whole)
    assert first_step(process) == 0
    start = time.monotonic()
    finished(process)
    duration = time.monotonic() - start
    rng, begun = random.Random(moments), []
    for i in range(moments):
        process = begin(directory, broken)
        begun.append(first_step(process))
        time.sleep(rng.uniform(0, duration * (i + 1) / moments / 2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = begin(directory, broken)
    begun.append(first_step(process))
    finished(process)
    assert begun == sorted(begun)  # what was whole once is not lost
    assert all(step % EVERY == 0 for step in begun)
    assert (
        files.steps(directory)
        == files.steps(tmp_path / "whole")
        == [STEPS // EVERY * EVERY - EVERY, STEPS // EVERY * EVERY]
    )
    with np.load(whole) as undisturbed, np.load(broken) as got:
        return dict(undisturbed), dict(got), begun


@pytest.mark.parametrize("moments", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path, moments):
    whole, broken, begun = crash(tmp_path, moments)
    print(begun)
    assert set(whole) == set(broken)
    for name in whole:
        np.testing.assert_array_equal(broken[name], whole[name])
