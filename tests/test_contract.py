"""Every clause of the contract over every row of the zoo."""

import pytest

from gradx import testing
from tests.zoo import ZOO, in_turn

DEAR = ("nested", "jit", "low_precision", "sharding", "grad", "odd_leaves", "vmap")
"""Clauses that compile several programs: in the fast set a row has every second, in turn with its neighbours."""
QUICK = [clause for clause in testing.CONTRACT if clause not in DEAR]


@pytest.mark.parametrize("clause", QUICK)
@pytest.mark.parametrize("row", ZOO, ids=str)
def test_contract(row, clause):
    check(row, clause)


@pytest.mark.parametrize(("row", "clause"), in_turn(ZOO, DEAR))
def test_contract_that_compiles(row, clause):
    check(row, clause)


def check(row, clause):
    if clause in row.skip:
        pytest.skip("does not apply; the zoo says why")
    testing.CONTRACT[clause](testing.Subject(row.tx, extras=row.extras))
