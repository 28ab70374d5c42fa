"""Every name of the installed Optax is there and takes the same arguments, or is listed with a reason."""

import functools
import importlib
import inspect
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import optax
import pytest

from gradx.compat import check, optax as shim
from gradx.compat.differences import BETTER, LEFT_OUT

MODULES = [
    "optax",
    *(m.name for m in pkgutil.walk_packages(optax.__path__, "optax.") if "._" not in m.name and m.ispkg),
]
PRIVATE = ["base", "alias", "combine", "transform", "numerics", "update", "utils", "wrappers", "linear_algebra"]
"""Modules of `optax._src` into which real programs reach."""


def public(module):
    return {
        name: x
        for name, x in vars(module).items()
        if not name.startswith("_")
        and not isinstance(x, types.ModuleType)
        and (_is_of_optax(x) or _is_said(module, name))
    }


def _is_of_optax(x):
    return isinstance(x, functools.partial) or str(getattr(x, "__module__", None)).startswith("optax")


def _is_said(module, name):
    return name in getattr(module, "__all__", ())


NAMES = [(module, name) for module in MODULES for name in public(importlib.import_module(module))]
NAMES += [(f"optax._src.{m}", name) for m in PRIVATE for name in public(importlib.import_module(f"optax._src.{m}"))]

AGGREGATING = "optax.experimental._aggregating"  # public as `optax.experimental.aggregating`, which is no module's name
NAMES += [(AGGREGATING, name) for name in public(importlib.import_module(AGGREGATING))]


def ours(module):
    return importlib.import_module(f"gradx.compat.{module}")


def both(module, name):
    return getattr(importlib.import_module(module), name), getattr(ours(module), name)


def test_there_are_as_many_as_optax_has():
    assert len(NAMES) >= 600


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda x: x)
def test_the_name_is_there(module, name):
    if name in LEFT_OUT:
        assert not hasattr(ours(module), name), "it is there, and listed as left out"
        return
    both(module, name)


def takes(f):
    """Return the parameters of a function with their kinds and defaults."""
    return [
        (p.name if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) else str(p.kind), p.kind, _comparable(p.default))
        for p in inspect.signature(f).parameters.values()
    ]


def _comparable(default):
    if hasattr(default, "update"):
        return "a transformation"
    if default is None or isinstance(default, bool | int | float | str | tuple):
        return default
    if isinstance(default, type):
        return default.__name__
    return "a function" if callable(default) else type(default).__name__


KEPT = [(m, n, getattr(importlib.import_module(m), n)) for m, n in NAMES if n not in LEFT_OUT]
FUNCTIONS = [(m, n) for m, n, x in KEPT if inspect.isfunction(x) or isinstance(x, functools.partial)]
OTHER_FIELDS = {"ScaleByScheduleState": "has an empty field more", "MuonState": "coefficients are no state"}
STATES = [(m, n) for m, n, x in KEPT if hasattr(x, "_fields")]


@pytest.mark.parametrize(("module", "name"), FUNCTIONS, ids=lambda x: x)
def test_it_takes_the_same_arguments_in_the_same_order(module, name):
    theirs, own = map(takes, both(module, name))
    more = own[len(theirs) :]
    assert own[: len(theirs)] == theirs
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, kind, _ in more), f"more than Optax takes: {more}"


@pytest.mark.parametrize(("module", "name"), STATES, ids=lambda x: x)
def test_states_have_the_same_fields(module, name):
    theirs, own = both(module, name)
    assert own._fields == theirs._fields or name in OTHER_FIELDS


def test_what_is_listed_is_a_name_of_optax():
    known = {name for _, name in NAMES}
    assert not sorted((BETTER.keys() | LEFT_OUT.keys()) - known)


def test_the_table_in_the_docs_is_the_one_that_holds():
    kept = Path(__file__).parents[2] / "docs" / "optax.md"
    assert kept.read_text() == check.table(), "python -m gradx.compat.check --table > docs/optax.md"


# The command


def test_a_programs_names_are_found_however_it_imports_them(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import optax\nimport optax as ox\nfrom optax import contrib\nfrom optax import adam as make\n"
        "from optax._src import base\n\ndef train(tx: base.Params):\n"
        "    return ox.chain(make(1), contrib.muon(1), optax.foo)\n"
    )
    found = check.names_in(program.read_text())
    assert found.keys() == {
        "optax.adam", "optax._src.base.Params", "optax.chain", "optax.contrib.muon", "optax.foo"
    }  # fmt: skip
    assert found["optax.chain"] == 8


def test_other_names_that_end_alike_are_not_optax():
    assert check.names_in("import foo\nfrom .optax import adam\nfoo.optax.adam(1)\n") == {}


def test_the_command_says_what_is_missing(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.py").write_text("import optax\noptax.adam(1)\noptax.nowhere(2)\n")
    (tmp_path / "b.py").write_text("def broken(:\n")
    monkeypatch.setattr("sys.argv", ["check", str(tmp_path)])
    assert check.main() == 1
    said = capsys.readouterr().out
    assert "a.py:2: optax.adam: better" in said
    assert "a.py:3: optax.nowhere: missing" in said
    assert "b.py: not read" in said


def test_the_command_is_content_with_what_is_there(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.py").write_text("import optax\noptax.sgd(1)\n")
    monkeypatch.setattr("sys.argv", ["check", str(tmp_path / "a.py")])
    assert check.main() == 0
    assert "every name is there" in capsys.readouterr().out


def test_a_path_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("sys.argv", ["check", "no/such/folder"])
    with pytest.raises(SystemExit, match="no such file or folder: no/such/folder"):
        check.main()


def test_the_shim_is_a_tree_of_modules():
    assert shim.losses.l2_loss(1.0) == 0.5
    assert importlib.import_module("gradx.compat.optax.contrib").__name__ == "gradx.compat.optax.contrib"


def test_no_device_is_asked_before_a_program_asks_one():
    """So a program may import, make its optimizer, and say then how many devices or processes there are."""
    program = (
        "import gradx.compat.optax as optax, jax\n"
        "optax.chain(optax.adamw(1e-3), optax.noisy_sgd(0.1, key=0), optax.contrib.sophia(0.1), optax.lbfgs())\n"
        "jax.config.update('jax_num_cpu_devices', 3)\n"
        "assert len(jax.devices('cpu')) == 3\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=600)
