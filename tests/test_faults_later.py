"""One test for each known fault that concerns the later optimizers and wrappers; the number is the list's."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx import losses
from gradx.testing import Subject
from gradx.testing.subject import types_of
from tests.zoo import ZOO

PARAMS = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.ones(2)}
BY_LOSS = {"value": jnp.float32(0.5)}


@pytest.mark.parametrize(
    "tx",
    [
        gradx.adabelief(0.1), gradx.adafactor(0.1), gradx.lamb(0.1), gradx.lion(0.1), gradx.novograd(0.1),
        gradx.prodigy(1.0), gradx.radam(0.1), gradx.schedule_free_adamw(0.1), gradx.sm3(0.1), gradx.yogi(0.1),
    ],
    ids=lambda tx: tx.name,
)  # fmt: skip
def test_04_wide_gradients_of_narrow_parameters_keep_the_states_dtypes(tx):
    params = gradx.tree.cast(PARAMS, jnp.bfloat16)
    state = tx.init(params)
    before = types_of(state)
    for _ in range(2):
        _, state = tx.update(PARAMS, state, params)
    assert types_of(state) == before


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_06_a_plateau_is_seen_below_zero_too(sign):
    tx = gradx.reduce_on_plateau(factor=0.5, patience=2, rtol=1e-3)
    state = tx.init(PARAMS)
    for _ in range(4):
        _, state = tx.update(PARAMS, state, PARAMS, value=jnp.float32(sign))
    assert float(state.scale) == 0.5


def test_08_schedule_free_counts_from_0_weighs_beyond_256_and_evaluates_inside_a_chain():
    seen = []

    def rate(step):
        seen.append(int(step))
        return 0.1

    tx = gradx.schedule_free_sgd(rate)
    tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    assert 0 in seen
    chained = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.schedule_free_sgd(1.0))
    params = {"w": jnp.ones(2, jnp.bfloat16)}

    def step(state, _):
        return chained.update(params, state, params)[1], None

    state, _ = jax.lax.scan(step, chained.init(params), None, 300)  # in bfloat16, 256 + 1 is 256
    assert float(gradx.tree.get(state, "weight_sum")) == 300
    assert float(gradx.eval_params(state, params)["w"][0]) != 1


def test_10_losses_at_their_corners():
    anchors, near, far = jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 4.0]]), jnp.array([[9.0, 12.0]])
    # The distances are 7 and 21 by absolute values.
    np.testing.assert_allclose(losses.triplet_margin_loss(anchors, near, far, norm_degree=1, margin=15.0), 1.0, 1e-5)
    assert np.isfinite(losses.triplet_margin_loss(anchors, near, far, norm_degree=3)).all()
    jax.jit(lambda p, t: losses.dice_loss(p, t, apply_softmax=False))(jnp.full((2, 4), 0.25), jnp.eye(4)[:2])
    losses.binary_dice_loss(jnp.full((2, 4), 0.5), jnp.ones((2, 4)), apply_sigmoid=False)
    slope = jax.grad(lambda x: losses.cosine_similarity(x, jnp.ones(2)))(jnp.zeros(2))
    assert np.all(np.isfinite(slope))
    log_target = jnp.array([0.0, -jnp.inf])
    assert np.isfinite(losses.kl_divergence_with_log_targets(jnp.log(jnp.array([0.5, 0.5])), log_target))


@pytest.mark.parametrize(
    "name", ["dog", "dowg", "prodigy", "madgrad", "cocob", "mechanize", "sam", "lbfgs", "lookahead"]
)
def test_18_parameters_and_state_can_be_given_away_at_the_first_step(name):
    row = next(row for row in ZOO if row.tx.name == name)
    assert "donation" not in row.skip
    gradx.testing.CONTRACT["donation"](Subject(row.tx, extras=row.extras))


def test_19_a_monitor_is_scanned():
    tx = gradx.chain(gradx.monitor({"norm": gradx.tree.norm}), gradx.sgd(0.1))

    def step(state, _):
        _, state = tx.update(PARAMS, state, PARAMS)
        return state, gradx.tree.get(state, "measurements")["norm"]

    _, seen = jax.lax.scan(step, tx.init(PARAMS), None, 3)
    np.testing.assert_allclose(seen, gradx.tree.norm(PARAMS), rtol=1e-6)


def test_20_extras_reach_the_inside_of_the_later_wrappers():
    seen = []

    @gradx.transformation
    def spy(number=1.0):
        def update(updates, state, params=None, *, value):
            seen.append(value)
            return updates, state

        return lambda params: gradx.EmptyState(), update

    wrapped = (
        gradx.lookahead(spy(), 2, 0.5),
        gradx.sam(spy(), gradx.sgd(0.1)),
        gradx.apply_if_finite(spy(), 3),
        gradx.average_params(spy()),
        gradx.mechanize(spy()),
        gradx.flatten(spy()),
    )
    for tx in wrapped:
        state = tx.init(PARAMS)
        for _ in range(2):  # sam's own step is the second
            _, state = tx.update(PARAMS, state, PARAMS, value=jnp.float32(1.0), unknown=2.0)
    assert len(seen) >= len(wrapped)


def test_20_a_line_search_ignores_what_the_function_does_not_name():
    def loss(params):
        return gradx.tree.norm(params, squared=True)

    tx = gradx.lbfgs()
    value, grads = jax.value_and_grad(loss)(PARAMS)
    tx.update(grads, tx.init(PARAMS), PARAMS, value=value, grad=grads, value_fn=loss, unknown=2.0)


def test_22_parameters_called_like_fields_are_parameters():
    params = {"count": jnp.ones(2), "mu": jnp.ones(3)}
    tx = gradx.adamw(0.1)
    _, state = tx.update(params, tx.init(params), params)
    state = gradx.tree.set(state, count=7)
    assert int(gradx.tree.get(state, "count")) == 7
    assert jax.tree.map(jnp.shape, gradx.tree.get(state, "mu")) == {"count": (2,), "mu": (3,)}


@pytest.mark.parametrize(
    "tx",
    [
        gradx.flatten(gradx.adam(0.1)),
        gradx.adafactor(0.1),
        gradx.novograd(0.1),
        gradx.galore(0.1, rank=1),
        gradx.lbfgs(),
    ],
    ids=lambda tx: tx.name,
)
def test_23_map_params_goes_by_where_a_leaf_comes_from(tx):
    state = tx.init(PARAMS)
    marked = gradx.tree.map_params(tx, lambda leaf, param: leaf, state, PARAMS)
    assert types_of(marked) == types_of(state)


def test_25_muon_takes_a_tree_and_its_presets_by_name():
    tx = gradx.scale_by_muon()
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, PARAMS)
    named = gradx.scale_by_muon(ns_coeffs="dion")
    named.update(PARAMS, named.init(PARAMS), PARAMS)


@pytest.mark.parametrize(
    "tx", [gradx.muon(0.1), gradx.galore(0.1, rank=1), gradx.flatten(gradx.sgd(0.1))], ids=lambda tx: tx.name
)
def test_26_matrix_methods_run_on_an_explicit_mesh(tx):
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params = {"w": jax.device_put(jnp.ones((4, 6)), jax.sharding.NamedSharding(mesh, jax.P("x", None)))}
        updates, _ = jax.jit(tx.update)(params, tx.init(params), params)
        assert updates["w"].shape == (4, 6)


def test_29_an_algorithm_is_one_file():
    """Its file, its line in the family, its row and its reference are what CONTRIBUTING says; a reader opens one."""
    root = Path(gradx.__file__).parent / "optimizers"
    for name in ("lion", "yogi", "adan", "sm3"):
        mentions = [path.name for path in sorted(root.glob("*.py")) if re.search(rf"\bdef {name}\(", path.read_text())]
        assert mentions == [f"{name}.py"]
    assert "four edits" in (root.parents[1] / "CONTRIBUTING.md").read_text()
