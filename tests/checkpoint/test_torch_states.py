"""What torch's optimizers kept goes on here, and what is kept here is what torch would keep; its side is recorded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx import checkpoint, tree
from tests.checkpoint.torch_record import AFTER, BEFORE, NAMES, PAIRS, go_on, recorded
from tests.oracles.optimizers_trajectory import start

FLOAT32 = 2e-5
"""How far float32 may be from float32 after twenty steps, relative to the largest entry."""


def distance(params, other):
    return max(float(np.max(np.abs(params[x] - other[x])) / np.max(np.abs(other[x]))) for x in NAMES)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_torch_goes_on_here(pair):
    theirs, params, later = recorded(pair.name)
    state, report = checkpoint.from_torch(pair.ours, theirs, params, NAMES)
    assert not report.new
    assert set(report.left_out) <= {"torch.count"}  # of those whose maths needs none
    _, got = go_on(pair.ours, state, params, BEFORE, AFTER)
    assert distance(got, later) <= FLOAT32
    if theirs["state"]:
        _, fresh = go_on(pair.ours, pair.ours.init(params), params, BEFORE, AFTER)
        assert distance(fresh, later) > 100 * FLOAT32  # the state is felt


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_ours_is_what_torch_would_keep(pair):
    """`torch_record.py` has torch load it and go on; here it is compared with what torch kept itself."""
    theirs, _, _ = recorded(pair.name)
    state, params = go_on(pair.ours, pair.ours.init(start(np.float32)), start(np.float32), 0, BEFORE)
    groups = {"state": {}, "param_groups": theirs["param_groups"]}
    got = checkpoint.to_torch(pair.ours, state, params, groups, NAMES)
    assert got["param_groups"] == theirs["param_groups"]
    assert {i: set(x) for i, x in got["state"].items()} == {i: set(x) for i, x in theirs["state"].items()}
    needs_step = any("count" in name for name in checkpoint.state_dict(pair.ours, state, params))
    for i, fields in theirs["state"].items():
        for key, x in fields.items():
            mine = got["state"][i][key]
            assert (mine.shape, mine.dtype) == (x.shape, x.dtype)
            if key != "step" or needs_step:
                assert np.max(np.abs(mine - x)) <= 1e-4 * np.max(np.abs(x)), (i, key)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_there_and_back(pair):
    theirs, params, _ = recorded(pair.name)
    state, _ = checkpoint.from_torch(pair.ours, theirs, params, NAMES)
    again = checkpoint.to_torch(pair.ours, state, params, theirs, NAMES)
    back, _ = checkpoint.from_torch(pair.ours, again, params, NAMES)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=3e-7), back, state)


def linear(turned):
    """Return what torch keeps for a linear layer and a bias, as (out, in) or turned."""
    mean, square = np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(6, 12, dtype=np.float32).reshape(3, 2)
    fields = {"step": np.float32(4), "exp_avg": mean, "exp_avg_sq": square}
    bias = {"step": np.float32(4), "exp_avg": np.ones(3, np.float32), "exp_avg_sq": np.ones(3, np.float32)}
    fields = {k: x.T if turned and x.ndim else x for k, x in fields.items()}
    return {"state": {0: fields, 1: bias}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1]}]}


PARAMS = {"layer": {"bias": jnp.zeros(3), "kernel": jnp.zeros((2, 3))}}
TURNED = [("layer/kernel", (1, 0)), "layer/bias"]


def test_arrays_are_turned():
    state, report = checkpoint.from_torch(gradx.adam(0.1), linear(False), PARAMS, TURNED)
    assert report.is_complete
    np.testing.assert_array_equal(state[0].mu["layer"]["kernel"], linear(False)["state"][0]["exp_avg"].T)
    assert state[0].count == 4
    back = checkpoint.to_torch(gradx.adam(0.1), state, PARAMS, linear(False), TURNED)
    jax.tree.map(np.testing.assert_array_equal, back["state"], linear(False)["state"])


def test_kernels_of_convolutions_are_turned():
    theirs = np.arange(120, dtype=np.float32).reshape(4, 3, 2, 5)  # outputs, inputs, height, width
    kept = {"state": {0: {"momentum_buffer": theirs}}, "param_groups": [{"lr": 0.1, "momentum": 0.9, "dampening": 0}]}
    kept["param_groups"][0]["params"] = [0]
    tx, params, names = gradx.sgd(0.1, momentum=0.9), {"conv": jnp.zeros((2, 5, 3, 4))}, [("conv", (2, 3, 1, 0))]
    state, _ = checkpoint.from_torch(tx, kept, params, names)
    assert tree.get(state, "trace")["conv"][1, 4, 2, 3] == theirs[3, 2, 1, 4]
    again = checkpoint.to_torch(tx, state, params, kept, names)
    np.testing.assert_array_equal(again["state"][0]["momentum_buffer"], theirs)


def test_mistakes_are_named():
    theirs, adam = linear(False), gradx.adam(0.1)
    with pytest.raises(ValueError, match=r"'layer/kernel' is \(2, 3\), and torch's exp_avg \(3, 2\): turn it"):
        checkpoint.from_torch(adam, theirs, PARAMS, ["layer/kernel", "layer/bias"])
    with pytest.raises(ValueError, match=r"'layer/bias' is .* turn it"):
        checkpoint.from_torch(adam, theirs, PARAMS, ["layer/bias", "layer/kernel"])
    with pytest.raises(ValueError, match="no parameter is called 'layer/weight'; there are layer/bias, layer/kernel"):
        checkpoint.from_torch(adam, theirs, PARAMS, ["layer/weight", "layer/bias"])
    with pytest.raises(ValueError, match="has 2 parameters, and 1 are named"):
        checkpoint.from_torch(adam, theirs, PARAMS, ["layer/kernel"])
    with pytest.raises(ValueError, match="'layer/bias' is named twice"):
        checkpoint.from_torch(adam, theirs, PARAMS, ["layer/bias", "layer/bias"])
    with pytest.raises(ValueError, match="the state has no mu of 'layer/bias', which is torch's exp_avg"):
        checkpoint.to_torch(gradx.sgd(0.1), gradx.sgd(0.1).init(PARAMS), PARAMS, theirs, ["layer/bias", "layer/kernel"])
    odd = theirs | {"param_groups": [{"lr": 0.1, "params": [0, 1]}]}
    with pytest.raises(ValueError, match="no group of Adam, AdamW, SGD"):
        checkpoint.to_torch(adam, adam.init(PARAMS), PARAMS, odd, TURNED)
    amsgrad = theirs | {"param_groups": [{"lr": 0.1, "betas": (0.9, 0.99), "amsgrad": True, "params": [0, 1]}]}
    with pytest.raises(ValueError, match="amsgrad"):
        checkpoint.to_torch(adam, adam.init(PARAMS), PARAMS, amsgrad, TURNED)


def test_parameters_of_different_ages_go_into_parts_of_their_own():
    """torch counts for each parameter, gradx for each part: those added later want a label of their own."""
    theirs = linear(True)
    theirs["state"][1]["step"] = np.float32(2)
    names = ["layer/kernel", "layer/bias"]
    labels = {"layer": {"kernel": "old", "bias": "young"}}
    tx = gradx.partition({"old": gradx.adam(0.1), "young": gradx.adam(0.1)}, labels)
    state, report = checkpoint.from_torch(tx, theirs, PARAMS, names)
    assert report.is_complete
    counts = {label: int(tree.get(x, "count")) for label, x in state.inner_states.items()}
    assert counts == {"old": 4, "young": 2}
    _, report = checkpoint.from_torch(gradx.adam(0.1), theirs, PARAMS, names)
    assert [name.partition(".")[2] for name in report.left_out] == ["count"]  # one of both


def test_a_parameter_that_torch_never_moved_is_new():
    theirs = linear(True)
    del theirs["state"][1]
    _, report = checkpoint.from_torch(gradx.adam(0.1), theirs, PARAMS, ["layer/kernel", "layer/bias"])
    assert set(report.new) == {"adam/scale_by_adam.mu:layer/bias", "adam/scale_by_adam.nu:layer/bias"}


def test_what_looks_like_a_tensor_is_taken():
    class Tensor:
        def __init__(self, x):
            self.x, self.dtype = x, "torch.bfloat16"

        def detach(self):
            return self

        cpu = detach

        def float(self):
            return self.x

    theirs = {"state": {0: {"momentum_buffer": Tensor(np.full(3, 2.0, np.float32))}}, "param_groups": [{"params": [0]}]}
    state, _ = checkpoint.from_torch(gradx.sgd(0.1, momentum=0.9), theirs, {"w": jnp.zeros(3)}, ["w"])
    np.testing.assert_array_equal(tree.get(state, "trace")["w"], 2.0)
