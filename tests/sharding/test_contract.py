"""The wrappers keep the contract of every transformation."""

import pytest

import gradx
from gradx import testing
from gradx.sharding import offload, zero1

INNER = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adam(0.01))
WRAPPED = {
    "zero1": zero1(INNER, axis="x"),
    "offload": offload(INNER),
    "both": offload(zero1(gradx.MultiSteps(INNER, 2), axis="x")),
}
EXCUSED = {
    ("zero1", "sharding"),  # the clause splits parameters over the axis itself: that needs no wrapper
    ("offload", "sharding"),  # the state does not lie in the memory of the parameters
    ("offload", "grad"),  # JAX 0.10 does not differentiate a way to the host
}
SLOW = pytest.mark.slow


@pytest.mark.parametrize("clause", testing.CONTRACT)
@pytest.mark.parametrize("name", [pytest.param(x, marks=SLOW if x == "both" else ()) for x in WRAPPED])
def test_contract(name, clause):
    if (name, clause) in EXCUSED or (name == "both" and clause in ("grad", "sharding")):
        pytest.skip("does not apply")
    testing.CONTRACT[clause](testing.Subject(WRAPPED[name]))
