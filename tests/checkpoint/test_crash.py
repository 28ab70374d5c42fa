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
from tests.checkpoint.loop import EVERY

ROOT = Path(__file__).parents[2]


def begin(*arguments):
    command = [sys.executable, "-u", "-m", "tests.checkpoint.loop", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)


def watched(process, lines=0):
    """Return the step from which the loop goes on, once it is some lines further; or at its end."""
    first = None
    for line in process.stdout:
        if line.startswith("from "):
            first = int(line.split()[1])
        elif first is not None:
            lines -= 1
        if first is not None and lines <= 0:
            break
    return first


@pytest.mark.parametrize("moments", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path, moments):
    """Between two steps, while a checkpoint is written, in the foreground or the background, or while one is read."""
    rng, begun, steps = random.Random(moments), [], 6 + 6 * moments
    directory, result = tmp_path / "run", tmp_path / "result.npz"
    for _ in range(moments):
        process = begin(directory, result, steps)
        begun.append(watched(process, rng.randint(0, 12)))
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left = files.steps(directory)
        assert len(left) <= 3  # two, and the one before that was to be taken away
    process = begin(directory, result, steps)
    begun.append(watched(process))
    output, _ = process.communicate()
    assert "done" in output
    assert begun == sorted(begun)  # what was whole once is not lost
    assert all(step % EVERY == 0 for step in begun)
    assert begun[-1] > 0
    assert sorted(path.name for path in directory.iterdir()) == sorted(str(steps - EVERY * i) for i in (0, 1))
    with np.load(result) as kept:
        for name in ("w", "b"):
            np.testing.assert_array_equal(kept[f"broken|{name}"], kept[f"whole|{name}"])
