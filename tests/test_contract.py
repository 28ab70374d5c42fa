"""Every clause of the contract over every row of the zoo."""

import pytest

from gradx import testing
from tests.zoo import ZOO


@pytest.mark.parametrize("clause", testing.CONTRACT)
@pytest.mark.parametrize("row", ZOO, ids=str)
def test_contract(row, clause):
    if clause in row.skip:
        pytest.skip("does not apply; the zoo says why")
    testing.CONTRACT[clause](testing.Subject(row.tx, extras=row.extras))
