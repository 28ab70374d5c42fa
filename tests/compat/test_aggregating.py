"""`optax.experimental.aggregating`: gradients of single examples, as Optax aggregates them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.experimental import aggregating as theirs

from gradx.compat import optax as shim
from gradx.compat.optax.experimental import aggregating as ours
from gradx.testing import assert_close

PARAMS = {"w": jnp.ones((2, 3)), "s": jnp.ones(())}


def batches(*lead, n=4):
    rng = np.random.default_rng(0)
    return [
        jax.tree.map(lambda p: jnp.asarray(rng.normal(size=(*lead, *p.shape)), jnp.float32), PARAMS) for _ in range(n)
    ]


def both(make):
    return make(theirs, optax), make(ours, shim)


AGGREGATORS = {
    "mean": lambda lib, _: lib.average_per_element_updates(),
    "mean over two axes": lambda lib, _: lib.average_per_element_updates((0, 1)),
    "steps": lambda lib, _: lib.average_incrementally_updates(None, 2),
    "mean and steps": lambda lib, _: lib.average_incrementally_updates(0, 2),
    "squares": lambda lib, _: lib.get_per_element_mean_and_sum_sq_diff_grads(),
    "squares and steps": lambda lib, _: lib.get_per_element_mean_and_sum_sq_diff_grads(0, 2),
    "one step": lambda lib, _: lib.accumulate_avg_updates(1),
    "processed": lambda lib, o: lib.process(o.clip(0.5), lib.average_incrementally_updates(0, 2), o.adam(0.1)),
    "with moments": lambda lib, o: lib.add_mean_variance_to_opt(o.adam(0.1)),
    "with moments and steps": lambda lib, o: lib.add_mean_variance_to_opt(o.adam(0.1), 0.5, accumulation_steps=2),
}
NO_EXAMPLES = ("steps", "one step")


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("name", AGGREGATORS)
def test_updates_and_states_follow_optax(name, jit):
    pair = both(AGGREGATORS[name])
    lead = () if name in NO_EXAMPLES else (3, 2) if "axes" in name else (3,)
    states = [tx.init(PARAMS) for tx in pair]
    assert [isinstance(tx, lib.Aggregator) for tx, lib in zip(pair, (theirs, ours), strict=True)] == [bool(lead)] * 2
    for grads in batches(*lead):
        found = [
            (jax.jit(tx.update) if jit else tx.update)(grads, s, PARAMS) for tx, s in zip(pair, states, strict=True)
        ]
        states = [s for _, s in found]
        assert_close(jax.tree.leaves(found[1]), jax.tree.leaves(found[0]))
    if "moments" in name:
        expected, got = (
            theirs.get_unbiased_mean_and_variance_ema(states[0]),
            ours.get_unbiased_mean_and_variance_ema(states[1]),
        )
        assert_close(got, expected)


def test_extras_and_aux_reach_what_follows():
    seen = {}

    def update(updates, state, params=None, *, sample_size, mine):
        seen.update(sample_size=sample_size, mine=mine)
        return updates, state

    after = shim.GradientTransformationExtraArgs(shim.init_empty_state, update)
    squares = ours.get_per_element_mean_and_sum_sq_diff_grads()
    tx = ours.process(shim.identity(), squares, after, aggregator_has_aux=True)
    tx.update(jnp.ones((3, 2)), tx.init(jnp.ones(2)), mine=5)
    assert seen == {"sample_size": 3, "mine": 5}


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="larger than or equal to 1"):
        ours.accumulate_avg_updates(0)
    with pytest.raises(ValueError, match="must have the same batch size"):
        ours.get_batch_size_from_per_elt_updates({"a": jnp.ones(3), "b": jnp.ones(2)}, 0)
    with pytest.raises(ValueError, match="must have PerElementMeanAndVarianceEMAState"):
        ours.get_unbiased_mean_and_variance_ema(shim.adam(0.1).init(PARAMS))
