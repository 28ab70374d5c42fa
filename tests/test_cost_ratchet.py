"""The counts that are kept in benchmarks/results/cost.json hold, or fall."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks.cases import CASES, LIBRARIES
from benchmarks.cost import count

KEPT = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "cost.json").read_text())
ROWS = {row["optimizer"]: row for row in KEPT["rows"]}
SAME_VERSION = jax.__version__ == KEPT["versions"]["jax"]
SLACK = {"bytes": 0.1, "temporaries": 0.1, "state": 0.01}
"""Bytes for each parameter: counts of a few scalars, over a million parameters."""


COUNTED_TWICE = {"mechanize(adamw)": 4.1}
"""Bytes more with the suite's quick compiler: it leaves the product g · g bare, and a bare product counts g twice."""


def test_every_case_is_kept():
    assert ROWS.keys() == CASES.keys()


@pytest.mark.skipif(not SAME_VERSION, reason="another compiler fuses otherwise; the table is of one version")
@pytest.mark.parametrize("name", CASES)
def test_counts_are_no_higher_than_those_kept(name):
    found, kept = count(CASES[name], LIBRARIES["gradx"]), ROWS[name]["gradx"]
    slack = SLACK | {"bytes": COUNTED_TWICE.get(name, SLACK["bytes"])}
    assert {key: found[key] for key, x in slack.items() if found[key] > kept[key] + x} == {}


@pytest.mark.parametrize("name", CASES)
def test_nothing_costs_more_than_optax(name):
    row = ROWS[name]
    assert {key for key, slack in SLACK.items() if row["gradx"][key] > row["optax"][key] + slack} == set()


@pytest.mark.parametrize("shape", [(200, 100), (100, 200), (150, 150)])
@pytest.mark.parametrize("name", ["galore", "adafactor", "mechanize(adamw)", "sophia"])
def test_whatever_the_shape(name, shape):
    """Tall, wide, square; two alike and one of its own."""
    params = {"a": jnp.ones(shape), "b": jnp.ones(shape), "c": jnp.ones((shape[0] + 1, shape[1]))}
    ours, theirs = (count(CASES[name], lib, params) for lib in LIBRARIES.values())
    slack = SLACK | {"bytes": 1.0, "temporaries": 1.0}  # the few scalars, and the small factors, of small arrays
    assert {key: (ours[key], theirs[key]) for key, x in slack.items() if ours[key] > theirs[key] + x} == {}
