"""Every row of the table of what survives: what is matched arrives, what is not is said, and training goes on."""

from pathlib import Path

import jax
import numpy as np
import pytest

import gradx
from gradx import checkpoint, tree
from tests.checkpoint.survives import CHANGES, PARAMS

STEPS = 3
TABLE = Path(gradx.__file__).parents[1] / "docs" / "checkpoints.md"


def trained(tx, params, steps=STEPS):
    """Return the state after some steps, each with a gradient of its own."""
    state = tx.init(params)
    for step in range(steps):
        grads = jax.tree.map(lambda x, step=step: np.float32(0.1 * (step + 1)) * x + np.float32(0.3), params)
        _, state = tx.update(tree.cast_like(grads, params), state, params)
    return state


def named(state_dict):
    return {name: np.asarray(x) for name, x in state_dict.items() if name != "gradx"}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_what_survives(change):
    saved = checkpoint.state_dict(change.old, trained(change.old, PARAMS), PARAMS)
    params = change.params(PARAMS)
    state, report = checkpoint.load_state_dict(change.new, saved, params)
    assert set(report.new) == set(change.fresh)
    assert set(report.left_out) == set(change.left_out)
    got, old = named(checkpoint.state_dict(change.new, state, params)), named(saved)
    init = named(checkpoint.state_dict(change.new, change.new.init(params), params))
    assert set(report.matched) | set(report.new) == set(got)
    for name, source in report.matched.items():
        np.testing.assert_array_equal(got[name], old[source].astype(got[name].dtype), err_msg=name)
        assert got[name].dtype == init[name].dtype
    for name in report.new:
        np.testing.assert_array_equal(got[name], init[name], err_msg=name)
    trained_on, _ = change.new.update(params, state, params)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(trained_on))


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_all_that_is_left_out_or_new_has_a_reason(change):
    saved = checkpoint.state_dict(change.old, trained(change.old, PARAMS), PARAMS)
    _, report = checkpoint.load_state_dict(change.new, saved, change.params(PARAMS))
    assert all(report.left_out.values())
    assert all(report.new.values())
    assert report.is_complete == (not change.fresh and not change.left_out)


def test_the_table_has_these_rows():
    rows = [line.strip("| ").split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    assert [tuple(row) for row in rows[1:]][: len(CHANGES)] == [(change.what, change.becomes) for change in CHANGES]
