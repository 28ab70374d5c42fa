"""Start processes that find each other on this machine, and wait for all of them."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Failed(Exception):
    """A process ended with an error, or not in time."""


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def together(commands: Sequence[Sequence[str]], devices: int, seconds: float) -> list[str]:
    """Run commands side by side, each with so many CPU devices, and return what each has printed.

    Raises Failed, and ends the others, when one fails or the time is over.
    """
    around = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, str(i)) for i in range(len(commands))]
        running = []
        try:
            for command, output in zip(commands, outputs, strict=True):
                with output.open("wb") as file:
                    running.append(subprocess.Popen(command, env=around, cwd=ROOT, stdout=file, stderr=file))
            _wait(running, outputs, time.monotonic() + seconds)
        finally:
            for process in running:
                process.kill()
                process.wait()
        return [output.read_text(errors="replace") for output in outputs]


def _wait(running: list[subprocess.Popen], outputs: list[Path], deadline: float) -> None:
    statuses = [process.poll() for process in running]
    while None in statuses and not any(statuses) and time.monotonic() < deadline:
        time.sleep(0.1)
        statuses = [process.poll() for process in running]
    for i, status in enumerate(statuses):
        if status is not None and status != 0:
            raise Failed(f"process {i} ended with {status}:\n{_tail(outputs[i])}")
    if None in statuses:
        raise Failed(f"process {statuses.index(None)} has not ended in time:\n{_tail(outputs[statuses.index(None)])}")


def _tail(output: Path) -> str:
    return output.read_text(errors="replace")[-2000:]


def run(processes: int, legs: Sequence[Any], devices: int = 2, seconds: float = 3600) -> list[dict[str, Any]]:
    """Have so many processes run the legs together, and return what the first of them saw of each."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "found.json")
        shared = {"processes": processes, "devices": devices, "port": port, "out": str(out)}
        given = [shared | {"process": i, "legs": [leg._asdict() for leg in legs]} for i in range(processes)]
        together([[sys.executable, "-m", "benchmarks.scaling.worker", json.dumps(x)] for x in given], devices, seconds)
        return json.loads(out.read_text())
