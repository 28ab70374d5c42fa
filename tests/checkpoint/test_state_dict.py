"""State dicts: every optimizer there and back, names without positions, values that go where they belong."""

import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import gradx
from gradx import checkpoint, tree
from gradx.checkpoint.state_dict import FORMAT
from gradx.testing import example_params
from tests.checkpoint.survives import GROUPS, PARAMS, SCHEDULE, same_bits
from tests.checkpoint.test_survives import named, trained
from tests.zoo import ZOO


def filled(tx, number, params=PARAMS):
    """Return a state with numbers like no other's, which no training needs to make."""
    leaves, treedef = jax.tree.flatten(jax.eval_shape(tx.init, params))
    new = [
        np.full(x.shape, (100 * number + i) % 2 if x.dtype == bool else 100 * number + i, x.dtype)
        for i, x in enumerate(leaves)
    ]
    return treedef.unflatten(new)


@pytest.mark.parametrize("row", ZOO, ids=str)
def test_every_optimizer_comes_back_to_the_bit(row):
    params = example_params()
    state = filled(row.tx, 1, params)
    saved = checkpoint.state_dict(row.tx, state, params)
    loaded, report = checkpoint.load_state_dict(row.tx, saved, params)
    assert report.is_complete
    assert not report.changed
    same_bits(loaded, state)


def loaded(old, new, params=PARAMS, steps=3):
    saved = checkpoint.state_dict(old, trained(old, params, steps), params)
    return checkpoint.load_state_dict(new, saved, params)


# Values


def test_a_new_schedule_goes_on_at_the_step_reached():
    tx = gradx.chain(gradx.clip(SCHEDULE), gradx.adamw(SCHEDULE))
    state, report = loaded(gradx.adamw(0.1), tx)
    assert [int(x) for _, x in tree.get_all_with_path(state, "count")] == [3, 3, 3]
    assert report.matched["clip.schedule_count"] == "adamw/scale_by_adam.count"
    injected = gradx.inject_hyperparams(gradx.adamw(SCHEDULE))
    state, _ = loaded(gradx.adamw(SCHEDULE), injected)
    assert state.count == state.hyperparams_states["learning_rate"].count == 3
    assert gradx.hyperparams(injected, state)["adamw/learning_rate"] == SCHEDULE(3)


def test_a_schedule_inside_a_wrapper_has_the_steps_of_the_inside():
    """Outside, MultiSteps has seen four gradients; inside, Adam two."""
    old = gradx.MultiSteps(gradx.adamw(0.1), 2)
    state, _ = loaded(old, gradx.MultiSteps(gradx.adamw(SCHEDULE), 2), steps=4)
    assert {int(x) for _, x in tree.get_all_with_path(state, "count")} == {2}
    outside = gradx.chain(gradx.MultiSteps(gradx.adamw(0.1), 2), gradx.scale_by_schedule(SCHEDULE))
    state, report = loaded(old, outside, steps=4)
    assert state[1].count == 0
    assert "scale_by_schedule/scale.schedule_count" in report.new


def test_counts_of_other_things_tell_no_step():
    old = gradx.chain(gradx.sgd(0.1), gradx.reduce_on_plateau(accumulation_size=9))
    state = old.init(PARAMS)
    for _ in range(2):
        _, state = old.update(PARAMS, state, PARAMS, value=1.0)
    saved = checkpoint.state_dict(old, state, PARAMS)
    new = gradx.chain(gradx.sgd(SCHEDULE), gradx.reduce_on_plateau(accumulation_size=9))
    state, _ = checkpoint.load_state_dict(new, saved, PARAMS)
    assert tree.get(state, "ReduceLROnPlateauState").count == 2
    assert tree.get(state, "ScheduledState").count == 0


def test_what_a_part_without_moments_counts_tells_no_step():
    class Seen(NamedTuple):
        count: jax.Array

    @gradx.transformation
    def count_numbers():
        def update(updates, state):
            return updates, Seen(state.count + sum(x.size for x in jax.tree.leaves(updates)))

        return lambda params: Seen(jnp.int32(0)), update

    old = gradx.chain(gradx.sgd(0.1), count_numbers())
    _, state = old.update(PARAMS, old.init(PARAMS), PARAMS)
    saved = checkpoint.state_dict(old, state, PARAMS)
    state, _ = checkpoint.load_state_dict(gradx.chain(gradx.sgd(SCHEDULE), count_numbers()), saved, PARAMS)
    assert tree.get(state, "Seen").count == 10
    assert tree.get(state, "ScheduledState").count == 0


def test_optimizer_and_adversary_do_not_change_places():
    old = gradx.sam(gradx.sgd(0.1, momentum=0.9), gradx.sgd(0.1, momentum=0.5), reset_state=False)
    new = gradx.sam(gradx.sgd(0.1, momentum=0.5), gradx.sgd(0.1, momentum=0.9), reset_state=False)
    _, report = loaded(old, new)
    assert report.is_complete
    assert all(name == source for name, source in report.matched.items())


def test_parameters_follow_their_labels():
    """Where the labels of two like optimizers change, each parameter takes its own moments along."""
    adams = {"one": gradx.adam(0.1), "two": gradx.adam(0.1)}
    state, report = loaded(gradx.partition(adams, GROUPS), gradx.partition(adams, {"layer": "two", "scale": "one"}))
    before = trained(gradx.adam(0.1), PARAMS)[0]
    np.testing.assert_array_equal(state.inner_states["two"][0].mu["layer"]["kernel"], before.mu["layer"]["kernel"])
    np.testing.assert_array_equal(state.inner_states["one"][0].mu["scale"], before.mu["scale"])
    assert not report.new
    assert list(report.left_out) == ["one/adam/scale_by_adam.count"]  # for both that of the label that kept its name


def test_random_keys_are_not_shared():
    noisy = gradx.chain(gradx.add_noise(0.1, 0.5, seed=0), gradx.ema(0.9))
    state, report = loaded(noisy, gradx.partition({"one": noisy, "two": noisy}, GROUPS))
    assert {int(x[0].count) for x in state.inner_states.values()} == {3}
    assert not np.array_equal(*(np.asarray(x[0].rng_key) for x in state.inner_states.values()))
    assert len(report.new) == 1


def test_typed_keys_are_kept_as_their_data():
    tx = gradx.GradientTransformation(
        lambda params: {"key": jax.random.key(3), "other": jax.random.key(4, impl="rbg")},
        lambda updates, state, params=None: (updates, state),
    )
    saved = checkpoint.state_dict(tx, tx.init(PARAMS), PARAMS)
    assert saved["GradientTransformation.key"].dtype == np.uint32
    state, report = checkpoint.load_state_dict(tx, jax.tree.map(np.asarray, saved), PARAMS)
    assert report.is_complete
    np.testing.assert_array_equal(jax.random.key_data(state["key"]), jax.random.key_data(jax.random.key(3)))
    assert str(jax.random.key_impl(state["other"])) == "rbg"


def test_what_was_cast_or_rebuilt_with_other_arguments_is_said():
    _, report = loaded(gradx.adam(0.1, b2=0.9), gradx.adam(0.1, b2=0.99, mu_dtype=jnp.bfloat16))
    assert report.is_complete
    assert report.changed["adam/scale_by_adam.mu:scale"] == ("float32", "bfloat16")
    before, now = report.changed["adam/scale_by_adam"]
    assert before == "scale_by_adam(b2=0.9)"
    assert "b2=0.99" in now
    assert "changed: adam/scale_by_adam.mu:scale: float32 -> bfloat16" in str(report)


def test_parameters_that_change_places_under_flatten():
    """The vector has the same length, and what was the one's would be the other's."""
    tx = gradx.flatten(gradx.adam(0.1))
    old, new = {"a": jnp.ones(2), "b": jnp.ones(3)}, {"a": jnp.ones(3), "b": jnp.ones(2)}
    saved = checkpoint.state_dict(tx, trained(tx, old), old)
    state, report = checkpoint.load_state_dict(tx, saved, new)
    assert not report.matched
    assert state[0].count == 0
    assert report.new["flatten/adam/scale_by_adam.mu"] == "mu is of all parameters, and they are others now"


def test_a_complex_moment_is_no_real_one():
    real, phased = {"w": jnp.ones(3)}, {"w": jnp.ones(3, jnp.complex64)}
    tx = gradx.ema(0.9)
    saved = checkpoint.state_dict(tx, trained(tx, phased), phased)
    _, report = checkpoint.load_state_dict(tx, saved, real)
    assert report.new["ema.ema:w"] == "it was complex64[3], and is float32[3]"
    assert report.left_out["ema.ema:w"] == "it is float32[3] here, and was complex64[3]"


def test_parameters_that_join_later_want_a_label_of_their_own():
    """Under an old count zeros make long steps; a part that is new has a count of its own."""
    params = PARAMS | {"head": jnp.ones(4)}
    tx = gradx.partition(
        {"old": gradx.adam(0.1), "new": gradx.adam(0.1)}, {"layer": "old", "scale": "old", "head": "new"}
    )
    saved = checkpoint.state_dict(gradx.adam(0.1), trained(gradx.adam(0.1), PARAMS, 50), PARAMS)
    state, report = checkpoint.load_state_dict(tx, saved, params)
    assert {label: int(x[0].count) for label, x in state.inner_states.items()} == {"old": 50, "new": 0}
    assert {name.partition(".")[0] for name in report.new} == {"new/adam/scale_by_adam"}
    update, _ = tx.update(params, state, params)
    np.testing.assert_allclose(update["head"], -0.1, rtol=1e-3)
    t = np.arange(1, 2000)
    assert 6 < np.max((1 - 0.9**t) / np.sqrt(1 - 0.999**t)) < 7  # what the page says of the other way


# Names


def test_names_hold_no_positions():
    tx = gradx.chain(
        gradx.clip(1.0), gradx.ema(0.9), gradx.chain(gradx.ema(0.9), gradx.masked(gradx.adam(SCHEDULE), True))
    )
    names = set(checkpoint.state_dict(tx, tx.init({"w": 1.0}), {"w": 1.0}))
    assert names == {
        "gradx", "ema.count", "ema.ema:w", "ema#1.count", "ema#1.ema:w", "adam/scale_by_adam.count",
        "adam/scale_by_adam.mu:w", "adam/scale_by_adam.nu:w", "adam/scale_by_learning_rate.schedule_count",
    }  # fmt: skip


class Layer(NamedTuple):
    """Parameters named like fields of states."""

    count: Any
    mu: Any


def test_odd_names_stay_apart():
    """Signs that end a name are spelt out; parameters may be called as fields are, or as parts."""
    params = {
        "mu": Layer(count=jnp.ones(2), mu=jnp.full(3, 2.0)),
        "a/b": jnp.full(2, 3.0),
        "a": {"b": jnp.full(2, 4.0)},
        "layer.0:weight#1%": jnp.full(2, 5.0),
        "list": [jnp.full(1, 6.0), (jnp.full(1, 7.0), None)],
        3: jnp.full(1, 8.0),
    }
    params = {str(key): x for key, x in params.items()}
    labels = jax.tree.map(lambda x: "x.y/z:#" if x.size == 2 else "rest", params)
    tx = gradx.partition({"x.y/z:#": gradx.adam(0.1), "rest": gradx.chain(gradx.ema(0.9), gradx.ema(0.9))}, labels)
    saved = checkpoint.state_dict(tx, trained(tx, params), params)
    assert "x%2Ey%2Fz%3A%23/adam/scale_by_adam.mu:a%2Fb" in saved
    assert "x%2Ey%2Fz%3A%23/adam/scale_by_adam.mu:layer.0%3Aweight#1%25" in saved
    state, report = checkpoint.load_state_dict(tx, saved, params)
    assert report.is_complete
    same_bits(state, trained(tx, params))


def test_two_parameters_of_one_name_are_refused():
    params = {1: jnp.ones(2), "1": jnp.ones(2)}
    with pytest.raises(ValueError, match="two parameters are called '1'"):
        checkpoint.state_dict(gradx.ema(0.9), (), [params, Twins(jnp.ones(1), jnp.ones(1))][1])


@jax.tree_util.register_pytree_with_keys_class
class Twins:
    """A module that gives both its children one name."""

    def __init__(self, one, two):
        self.children = (one, two)

    def tree_flatten_with_keys(self):
        return tuple((jax.tree_util.DictKey("1"), x) for x in self.children), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


def test_parameters_that_are_one_array():
    tx, params = gradx.adam(SCHEDULE), jnp.ones(3)
    saved = checkpoint.state_dict(tx, trained(tx, params), params)
    assert {"adam/scale_by_adam.mu:", "adam/scale_by_adam.count"} < set(saved)
    state, report = checkpoint.load_state_dict(tx, saved, params)
    assert report.is_complete
    same_bits(state, trained(tx, params))


def test_shapes_alone_give_the_names():
    tx = gradx.MultiSteps(
        gradx.chain(gradx.add_noise(0.1, 0.5, seed=0), gradx.inject_hyperparams(gradx.adamw(SCHEDULE))), 2
    )
    shapes = jax.eval_shape(lambda: PARAMS)
    abstract = jax.eval_shape(tx.init, shapes)
    assert set(checkpoint.state_dict(tx, abstract, shapes)) == set(checkpoint.state_dict(tx, tx.init(PARAMS), PARAMS))


# Mistakes


def test_a_state_of_another_optimizer_is_refused():
    with pytest.raises(ValueError, match="the state is not what adam keeps for these parameters"):
        checkpoint.state_dict(gradx.adam(0.1), gradx.chain(gradx.ema(0.9), gradx.adam(0.1)).init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match="the state is not what adam keeps"):
        checkpoint.state_dict(gradx.adam(0.1), gradx.adam(0.1).init(PARAMS), {"other": 1.0})


def test_what_is_no_state_dict_is_refused():
    tx = gradx.adam(0.1)
    saved = checkpoint.state_dict(tx, tx.init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match=r"the entry 'gradx' is missing, .* gradx.checkpoint.mend"):
        checkpoint.load_state_dict(tx, named(saved), PARAMS)
    for text in ("no JSON", "{}", "[]", '{"format": "1"}', b"\xff", 1, None):
        with pytest.raises(ValueError, match=r"no state dict, the entry 'gradx' is .* not what state_dict wrote"):
            checkpoint.load_state_dict(tx, saved | {"gradx": text}, PARAMS)
    stored = saved | {"gradx": saved["gradx"].encode()}  # as some stores keep texts
    assert checkpoint.load_state_dict(tx, stored, PARAMS)[1].is_complete
    later = json.dumps(json.loads(saved["gradx"]) | {"format": FORMAT + 1})
    with pytest.raises(ValueError, match=f"its format is {FORMAT + 1}, this gradx reads up to {FORMAT}: update gradx"):
        checkpoint.load_state_dict(tx, saved | {"gradx": later}, PARAMS)
    with pytest.raises(ValueError, match=r"'lion\.mu:w' belongs to no part"):
        checkpoint.load_state_dict(tx, saved | {"lion.mu:w": np.ones(3)}, PARAMS)


def test_a_dict_with_entries_missing_or_added_is_reported():
    tx = gradx.adam(0.1)
    saved = checkpoint.state_dict(tx, trained(tx, PARAMS), PARAMS)
    del saved["adam/scale_by_adam.mu:scale"]
    saved["adam/scale_by_adam.mu:head"] = np.ones(3)
    _, report = checkpoint.load_state_dict(tx, saved, PARAMS)
    assert report.new == {"adam/scale_by_adam.mu:scale": "no mu of 'scale' was there"}
    assert report.left_out == {"adam/scale_by_adam.mu:head": "no mu of 'head' here"}


@pytest.mark.filterwarnings("ignore:Sharding info not provided when restoring")
def test_stores_of_numpy_and_orbax_take_it(tmp_path):
    import orbax.checkpoint as ocp

    tx = gradx.chain(gradx.add_noise(0.1, 0.5, seed=0), gradx.adamw(SCHEDULE))
    state = trained(tx, PARAMS)
    saved = checkpoint.state_dict(tx, state, PARAMS)
    np.savez(tmp_path / "state.npz", **saved)
    with np.load(tmp_path / "state.npz") as file:
        same_bits(checkpoint.load_state_dict(tx, dict(file), PARAMS)[0], state)
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "orbax", {"step": 3, "optimizer": saved})
        back = checkpointer.restore(tmp_path / "orbax")["optimizer"]
    same_bits(checkpoint.load_state_dict(tx, back, PARAMS)[0], state)


# Chains that share parts

PARTS = [
    gradx.ema(0.9),
    gradx.ema(0.5),
    gradx.momentum(0.9),
    gradx.scale_by_rms(),
    gradx.clip(1.0),
    gradx.clip(SCHEDULE),
    gradx.add_noise(0.1, 0.5, seed=0),
    gradx.adamw(SCHEDULE),
    gradx.adam(0.1, b1=SCHEDULE),
    gradx.lion(0.1),
    gradx.lookahead(gradx.sgd(0.1, momentum=0.9), 2, 0.5),
    gradx.MultiSteps(gradx.lion(0.1), 2),
    gradx.partition({"one": gradx.ema(0.9), "two": gradx.momentum(0.9)}, GROUPS),
    gradx.masked(gradx.scale_by_adam(), {"layer": True, "scale": False}),
    gradx.inject_hyperparams(gradx.rmsprop(0.1, momentum=0.5)),
]
some_parts = st.lists(st.sampled_from(PARTS), max_size=5)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(some_parts, some_parts)
def test_shared_parts_arrive(before, after):
    """Whatever else the two chains hold, the first of a kind in the one is the first of its kind in the other."""
    old = gradx.chain(*before)
    state = tuple(filled(part, i) for i, part in enumerate(before))
    saved = checkpoint.state_dict(old, state, PARAMS)
    new, report = checkpoint.load_state_dict(gradx.chain(*after), saved, PARAMS)
    for t, part in enumerate(after):
        earlier = sum(other == part for other in after[:t])
        alike = [state[s] for s, other in enumerate(before) if other == part]
        if earlier < len(alike):
            for x, y in zip(jax.tree.leaves(new[t]), jax.tree.leaves(alike[earlier]), strict=True):
                np.testing.assert_array_equal(x, y)
    taken = list(report.matched.values())
    arrays = [source for source in taken if ":" in source]
    assert len(arrays) == len(set(arrays))
    assert set(taken) | set(report.left_out) == set(named(saved))
