"""Files of every version are read for ever: what was written then comes back whole, number for number."""

import gzip
import json
import re
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx import checkpoint
from gradx.checkpoint.state_dict import FORMAT
from gradx.testing import example_params
from tests import zoo
from tests.checkpoint.golden import ROOT, STEP, entries_of, optimizer, pattern, stored
from tests.checkpoint.survives import same_bits
from tests.zoo import ZOO

VERSIONS = range(1, FORMAT + 1)
NOW = {str(row): row.tx for row in ZOO}
GONE: set[str] = set()
"""Rows of a golden file that today's gradx cannot make any more; each with a reason."""
GAINED: dict[str, set[str]] = {}
"""By row, the leaves that its state has gained since."""


def kept(version):
    return json.loads(gzip.decompress((ROOT / f"state_dicts_{version}.json.gz").read_bytes()))


def made(text):
    """Return the transformation that printed so: of the zoo, or made from its text."""
    names = vars(gradx) | vars(gradx.tree) | vars(zoo) | {"jnp": jnp, "array": jnp.array}
    return NOW[text] if text in NOW else eval(text, names)


ROWS = [(version, text) for version in VERSIONS for text in kept(version)]


@pytest.mark.parametrize(("version", "text"), ROWS, ids=lambda x: str(x))
def test_state_dicts_of_every_version(version, text):
    if text in GONE:
        pytest.skip("gone; the list says why")
    row, params = kept_once(version)[text], example_params()
    entries = {name: pattern(name, *x) for name, x in row["entries"].items()}
    tx = made(text)
    state, report = checkpoint.load_state_dict(tx, {"gradx": row["gradx"], **entries}, params)
    assert not report.left_out
    assert set(report.new) == GAINED.get(text, set())
    got = entries_of(tx, state, params)
    for name, source in report.matched.items():
        np.testing.assert_array_equal(got[name], entries[source], err_msg=name)


CACHE: dict[int, dict] = {}


def kept_once(version):
    return CACHE.setdefault(version, kept(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_checkpoints_of_every_version(version, tmp_path):
    directory = tmp_path / "checkpoint"
    shutil.copytree(ROOT / f"checkpoint_{version}", directory)  # readers leave locks
    restored = checkpoint.restore(directory, optimizer(), example_params())
    params, state = stored(optimizer())
    assert restored.step == STEP
    assert restored.report.is_complete
    same_bits(restored.params, params)
    same_bits(restored.state, state)


def test_the_files_say_their_version():
    for version in VERSIONS:
        formats = {json.loads(row["gradx"])["format"] for row in kept_once(version).values()}
        assert formats == {version}
    assert sorted(int(re.findall("[0-9]+", path.name)[0]) for path in ROOT.glob("state_dicts_*")) == list(VERSIONS)
