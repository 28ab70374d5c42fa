"""The training file of `examples/many_processes` runs on several processes, and its launch scripts start it."""

import re
import runpy
import shlex
import sys

import jax
import pytest
from jax.sharding import AxisType

from benchmarks.scaling import launch

EXAMPLES = launch.ROOT / "examples" / "many_processes"
TRAIN = runpy.run_path(str(EXAMPLES / "train.py"))
SCRIPTS = ["slurm.sh", "tpu_pod.sh", "kubernetes.yaml"]
STEPS = 3


def losses(layout, devices):
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    return TRAIN["train"](layout, STEPS, mesh)


def test_two_processes_train_as_one_does():
    port = launch.free_port()
    fixed = [sys.executable, str(EXAMPLES / "train.py"), "--steps", str(STEPS), "--coordinator", f"127.0.0.1:{port}"]
    commands = [[*fixed, "--processes", "2", "--process", str(i)] for i in range(2)]
    first, second = launch.together(commands, devices=2, seconds=300)
    printed = [float(x) for x in re.findall(r"step \d+: ([\d.]+) nats", first)]
    found = losses("zero1", 4)
    assert printed == pytest.approx([found[0], found[-1]], abs=2e-4)
    assert "nats" not in second


@pytest.mark.parametrize("layout", ["zero1", "fsdp"])
def test_layouts_train_alike(layout):
    assert losses(layout, 8) == pytest.approx(losses("data_parallel", 1), rel=1e-4)


@pytest.mark.parametrize("script", SCRIPTS)
def test_launch_scripts_say_what_the_file_understands(script):
    text = (EXAMPLES / script).read_text().replace("$JOB_COMPLETION_INDEX", "0")
    (command,) = re.findall(r"python examples/many_processes/train.py ([^\"#]*?)(?:\"|\n\s+resources|\n?$)", text)
    given = TRAIN["options"](shlex.split(command))
    assert given.layout in TRAIN["LAYOUTS"]
    assert given.cluster or (given.coordinator and given.processes > given.process)
    assert len(text.splitlines()) < 30
