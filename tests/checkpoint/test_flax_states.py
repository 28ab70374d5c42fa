"""States whose parameters lie in flax's boxes, and those of an `nnx.Optimizer`, which has boxes of its own."""

import jax
import pytest
from flax import nnx

import gradx
from gradx import checkpoint
from tests.checkpoint.survives import SCHEDULE, same_bits


def test_a_model_of_nnx():
    """Its boxes have no part in the names: what is kept with them loads without, and the other way round."""
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    boxed = nnx.state(model, nnx.Param)
    bare = {name: x[...] for name, x in boxed.items()}
    tx = gradx.adamw(SCHEDULE)
    saved = checkpoint.state_dict(tx, tx.init(boxed), boxed)
    assert set(saved) == set(checkpoint.state_dict(tx, tx.init(bare), bare))
    for params in (boxed, bare):
        _, report = checkpoint.load_state_dict(tx, saved, params)
        assert report.is_complete


@pytest.mark.parametrize(
    "tx",
    [
        gradx.adamw(SCHEDULE, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)),
        gradx.muon(0.1, muon_weight_dimension_numbers=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)),
        gradx.MultiSteps(gradx.inject_hyperparams(gradx.adam)(0.1), 2),
    ],
    ids=["mask", "partition", "wrapped"],
)
def test_the_state_of_an_optimizer_of_nnx(tx):
    """Its boxes are others than the parameters': names and values are those of a plain state."""

    def trained(steps):
        model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
        for _ in range(steps):
            optimizer.update(model, nnx.state(model, nnx.Param))
        return nnx.state(model, nnx.Param), optimizer.opt_state

    params, state = trained(3)
    saved = checkpoint.state_dict(tx, state, params)
    assert set(saved) == set(checkpoint.state_dict(tx, tx.init(params), params))
    loaded, report = checkpoint.load_state_dict(tx, saved, params)
    assert report.is_complete
    same_bits(jax.tree.leaves(loaded), jax.tree.leaves(state))
    with pytest.raises(ValueError, match="the state is not what sgd keeps"):
        checkpoint.state_dict(gradx.sgd(0.1, momentum=0.9), state, params)
