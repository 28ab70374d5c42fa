"""Recipes: what they are made of, whom they decay, and that the races are what their docstrings say."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradx
from gradx import recipes
from gradx.recipes.suggestions import SUGGESTIONS
from gradx.testing import check_transform

ROOT = Path(__file__).parent.parent
NAMES = list(SUGGESTIONS)
DECAYING = ["general", "images", "recurrent", "stream"]


@pytest.mark.parametrize("name", [NAMES[0], *(pytest.param(x, marks=pytest.mark.slow) for x in NAMES[1:])])
def test_a_recipe_is_a_transformation_like_any_other(name):
    nameless = ("odd_leaves",) if name in ("language", "recurrent") else ()  # they ask for roles; those names tell none
    check_transform(recipes.suggest(name)(20), skip=nameless)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_a_value(name):
    recipe = getattr(recipes, name)
    assert recipe(100) == recipes.suggest(name)(100) != recipe(101)
    assert repr(recipe(100, 0.5)) == f"{name}(steps=100, peak=0.5)"
    assert gradx.replace(recipe(100), peak=0.5) == recipe(100, 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero(name):
    tx = recipes.suggest(name)(100, 0.2).expand()
    state = tx.init(jnp.ones(3))
    seen = []
    for _ in range(101):
        seen.append(next(float(x) for key, x in gradx.hyperparams(tx, state).items() if key.endswith("learning_rate")))
        _, state = tx.update(jnp.ones(3), state, jnp.ones(3))
    np.testing.assert_allclose([seen[0], seen[10], seen[100]], [0.02, 0.2, 0.0], atol=1e-7)  # float32
    assert np.argmax(seen) == 10


@pytest.mark.parametrize("name", NAMES)
def test_exploding_gradients_are_clipped(name):
    tx = recipes.suggest(name)(10)
    params = jnp.ones(4)
    clip = tx.arguments["clip"]
    small, _ = tx.update(jnp.ones(4) * clip / 2, tx.init(params), params)  # of norm clip
    large, _ = tx.update(jnp.ones(4) * 1e6, tx.init(params), params)
    np.testing.assert_allclose(small, large, rtol=1e-6)


@pytest.mark.parametrize("name", DECAYING)
def test_decay_pulls_at_kernels_alone(name):
    class Net(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.words = nnx.Embed(5, 4, rngs=rngs)
            self.conv = nnx.Conv(2, 3, (3,), rngs=rngs)
            self.norm = nnx.LayerNorm(4, rngs=rngs)
            self.dense = nnx.Linear(4, 2, rngs=rngs)

    params = jax.tree.map(jnp.ones_like, nnx.state(Net(), nnx.Param))
    tx = recipes.suggest(name)(10)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    moved = {path for path, u in zip(gradx.tree.paths(updates), jax.tree.leaves(updates), strict=True) if u.any()}
    assert moved == {"conv/kernel", "dense/kernel"}


def test_only_the_last_name_says_whether_it_is_an_embedding():
    matrix = jnp.ones((2, 2))
    params = {"embedder": {"kernel": matrix}, "Embed_0": {"embedding": matrix}, "scale": jnp.ones(2)}
    marks = recipes.kernels(params)
    assert marks == {"embedder": {"kernel": True}, "Embed_0": {"embedding": False}, "scale": False}


def test_biases_of_heads_and_of_stacked_layers_do_not_decay():
    heads = {"query": {"kernel": jnp.ones((8, 2, 4)), "bias": jnp.ones((2, 4))}}
    stacked = {"layers": {"kernel": jnp.ones((3, 4, 5)), "bias": jnp.ones((3, 5))}}
    for params in (heads, stacked):
        (layer,) = recipes.kernels(params).values()
        assert layer == {"kernel": True, "bias": False}


def test_what_no_role_is_told_of_decays_where_it_has_two_axes():
    params = {"kernel": jnp.ones((2, 3, 4)), "bias": jnp.ones(5)}  # the bias fits no axis
    assert recipes.kernels(params) == {"kernel": True, "bias": False}
    assert recipes.kernels([jnp.ones((2, 3)), jnp.ones(3)]) == [True, False]


def test_what_roles_do_not_tell_can_be_said():
    params = {"mixer": jnp.ones((3, 3)), "b": jnp.ones(3)}
    with pytest.raises(ValueError, match="mixer"):
        recipes.language(10).init(params)
    tx = recipes.language(10, weight_dimension_numbers=lambda p: gradx.roles.infer(p, {"mixer": "matrix", "b": "bias"}))
    assert "muon" in str(gradx.describe(tx, params)).splitlines()[2]


def test_another_task_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"no recipe for 'imagse'; there are general, images, language"):
        recipes.suggest("imagse")


def test_a_schedule_is_no_peak():
    with pytest.raises((TypeError, ValueError), match="peak"):
        recipes.general(100, gradx.constant_schedule(0.1))


def test_the_table_has_a_row_for_each():
    lines = recipes.table().splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == NAMES
    assert all(len(line.split(" | ")) == 4 for line in lines)


def raced(name):
    """Return the runs of the race that the recipe's docstring names, with the recipe, and the race's metric."""
    (steps,), (path,) = (
        re.findall(pattern, recipes.suggest(name).__doc__)
        for pattern in (r"Raced for ([\d,]+) steps", r"benchmarks/results/\S+\.json")
    )
    results = json.loads((ROOT / path).read_text())
    assert results["steps"] == int(steps.replace(",", ""))
    return [run for run in results["runs"] if run["optimizer"] == "recipe"], results["metric"]


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_names_a_race_that_was_run_with_it(name):
    runs, _ = raced(name)
    assert len(runs) >= 3
    assert all(run["finished"] for run in runs)
    updates = int(re.search(r"decay_steps=(\d+)", runs[0]["recipe"])[1])
    assert repr(recipes.suggest(name)(updates).expand()) == runs[0]["recipe"]  # the default peak is the one that won


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_reached_the_target_with_every_seed(name):
    runs, metric = raced(name)
    ends, target = [run["curves"]["metric"][-1] for run in runs], metric["target"]
    assert min(ends) >= target if metric["higher_is_better"] else max(ends) <= target


@pytest.mark.parametrize(("name", "target"), [("images", 0.975), ("language", 2.6), ("control", 475.0)])
def test_the_targets_are_those_that_were_set(name, target):
    assert raced(name)[1]["target"] == target


def test_a_stream_leaves_memory_as_it_was():
    results = json.loads((ROOT / "benchmarks/results/stream/results.json").read_text())
    read = results["steps"] * 32 * 1024 / 1e6
    first = results["runs"][0]["optimizer"]
    for run in results["runs"]:
        sizes = np.array(run["curves"]["resident MB"])
        tenth = len(sizes) // 10
        assert tenth >= 1
        start, end = sizes[:tenth].mean(), sizes[-tenth:].mean()
        if run["optimizer"] == "recipe":
            assert abs(end - start) <= 0.05 * start
        if run["optimizer"] != first:  # which fills the pools of the allocators
            assert end - start <= read / 10
