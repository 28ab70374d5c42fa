"""The examples in docstrings and in the README run as they stand."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import gradx

MODULES = sorted(module.name for module in pkgutil.walk_packages(gradx.__path__, "gradx."))
README = Path(gradx.__file__).parent.parent / "README.md"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


def test_every_recipe_file_has_an_example():
    names = [name for name in MODULES if name.startswith("gradx.optimizers.")]
    without = [name for name in names if ">>>" not in Path(importlib.import_module(name).__file__).read_text()]
    assert without == []


PAGES = [README, *sorted((README.parent / "docs").glob("*.md"))]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_in_the_readme_and_docs(page):
    """One after the other in one namespace, as a reader would paste them."""
    assert blocks(page) or page.name == "optax.md"  # a list of names
    namespace = {}
    for block in blocks(page):
        exec(compile(block, page.name, "exec"), namespace)


def test_tables_in_the_readme_come_from_results():
    """They are those of the kept files, to the letter."""
    from benchmarks.readme import filled

    assert README.read_text() == filled(README.read_text())
    assert "| un-jitted update, adamw, 150 leaves | " in README.read_text()
    assert "| clip + adamw | " in README.read_text()
