"""What torch answered is on file, nothing else is, and no test imports torch."""

import sys

import numpy as np
import pytest

from tests.oracles import recorded
from tests.oracles.optimizers_trajectory import all_rows
from tests.schedules.cases import CASES, COMPOSED

NAMED = {"ctc", "average of ASGD", "plateau relative", "plateau absolute, losses below 0"}
"""Comparisons beside those of trajectories and schedules."""


def test_every_record_is_of_a_comparison_and_every_comparison_recorded():
    keys = {name.partition("|")[0] for name in recorded.kept()} - {recorded.VERSION}
    trajectories = {f"trajectory {row}" for row in all_rows() if row.torch is not None}
    schedules = {f"schedule {name}" for name in [*map(str, filter(lambda case: case.torch, CASES)), *COMPOSED]}
    assert keys == NAMED | trajectories | schedules


def test_the_version_is_recorded_and_torch_is_not_imported():
    assert recorded.torch_version().startswith("2.")
    assert "torch" not in sys.modules


def test_what_is_not_recorded_says_how_to_record_it():
    with pytest.raises(AssertionError, match=r"has no 'unheard of'; [\s\S]*python -m tests.oracles.recorded"):
        recorded.from_torch("unheard of", lambda torch: {})


def test_what_has_moved_is_said():
    before = {"a": np.array([1.0, -2.0]), "b": np.ones(1), "version": np.array("1")}
    after = {"a": np.array([1.0, -2.5]), "c": np.ones(1), "version": np.array("2")}
    assert recorded.moved(before, after) == ["a: 2.5e-01", "b: gone", "c: new", "version: 1 is now 2"]
