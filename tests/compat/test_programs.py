"""Programs written for Optax run with one line changed, and see the same numbers."""

import re
from pathlib import Path

import numpy as np
import pytest

MARKS = {"line_search": pytest.mark.slow}  # half a minute; test_line_search.py follows Optax's searches step by step
OPTIONAL = ("equinox", "haiku", "numpyro")
"""Libraries without which their programs are left out."""
PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))


def outcome(path, shim):
    source = path.read_text()
    if shim:
        source = re.sub(r"^import optax$", "import gradx.compat.optax as optax", source, flags=re.MULTILINE)
        source = re.sub(r"^from optax", "from gradx.compat.optax", source, flags=re.MULTILINE)
        assert "gradx" in source
    names = {"__name__": path.stem}
    try:
        exec(compile(source, str(path), "exec"), names)
    except ModuleNotFoundError as missing:
        if missing.name not in OPTIONAL:
            raise
        pytest.skip(f"this program needs {missing.name}, which is not installed")
    return names["main"]()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", [pytest.param(x, marks=MARKS.get(x.stem, ()), id=x.stem) for x in PROGRAMS])
def test_one_line_switches_a_program(path):
    expected, got = outcome(path, shim=False), outcome(path, shim=True)
    assert len(expected) >= 3
    assert np.all(np.isfinite(expected))
    # Two programs of the same formulas in float32, which feed their rounding back over some tens of steps.
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=1e-5)
