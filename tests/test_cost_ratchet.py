"""The counts that are kept in benchmarks/results/cost.json hold, or fall."""

import json
from pathlib import Path

import jax
import pytest

from benchmarks.cases import CASES, LIBRARIES
from benchmarks.cost import count

KEPT = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "cost.json").read_text())
ROWS = {row["optimizer"]: row for row in KEPT["rows"]}
SAME_VERSION = jax.__version__ == KEPT["versions"]["jax"]
SLACK = {"bytes": 0.1, "temporaries": 0.1, "state": 0.01}
"""Bytes for each parameter: counts of a few scalars, over a million parameters."""


FUSED_OTHERWISE = {"mechanize(adamw)": 4.1}
"""Bytes that the suite's quick compiler reads more than the one with which the table was made."""


def test_every_case_is_kept():
    assert ROWS.keys() == CASES.keys()


@pytest.mark.skipif(not SAME_VERSION, reason="another compiler fuses otherwise; the table is of one version")
@pytest.mark.parametrize("name", CASES)
def test_counts_are_no_higher_than_those_kept(name):
    found, kept = count(CASES[name], LIBRARIES["gradx"]), ROWS[name]["gradx"]
    slack = SLACK | {"bytes": FUSED_OTHERWISE.get(name, SLACK["bytes"])}
    assert {key: found[key] for key, x in slack.items() if found[key] > kept[key] + x} == {}


DEARER = {"adafactor": "temporaries", "adafactor, momentum": "temporaries"}
"""What Optax does with less, and which count it is."""


@pytest.mark.parametrize("name", CASES)
def test_nothing_costs_more_than_optax(name):
    row = ROWS[name]
    above = {key for key, slack in SLACK.items() if row["gradx"][key] > row["optax"][key] + slack}
    assert above == ({DEARER[name]} if name in DEARER else set())
