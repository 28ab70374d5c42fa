"""Two processes save together, each its own shards, and restore together; one process alone reads what they wrote."""

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradx import checkpoint
from gradx.testing import assert_close
from tests.checkpoint.two_processes import STEPS, TX, host, train

ROOT = Path(__file__).parents[2]
ROUNDING = {"rtol": 1e-6, "atol": 1e-6}
"""Two processes compile another program than one, which rounds otherwise: 6e-8 was seen, of entries up to 0.2."""


@pytest.mark.slow
def test_two_processes(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    command = [sys.executable, "-m", "tests.checkpoint.two_processes", str(tmp_path / "run"), port]
    both = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
        for i in range(2)
    ]
    printed = [process.communicate(timeout=550)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    params, state = host(), TX.init(host())
    for _ in range(STEPS):
        params, state = train(params, state)
    restored = checkpoint.restore(tmp_path / "run", TX, host())
    assert restored.report.is_complete
    assert_close(restored.params, params, **ROUNDING)
    assert_close(restored.state, state, **ROUNDING)
    for i, text in enumerate(printed):
        line = next(line for line in text.splitlines() if line.startswith(f"shard {i} "))
        shard, _, after = line.removeprefix(f"shard {i} ").rpartition(" ")
        np.testing.assert_array_equal(
            np.float32(ast.literal_eval(shard)), np.asarray(restored.params["w"])[:, 2 * i : 2 * i + 2]
        )
        np.testing.assert_allclose(np.float32(after), train(params, state)[0]["b"][0], **ROUNDING)
