"""A transformation is a value: the table of properties, row by row."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradx
from gradx.scheduled import schedule
from gradx.testing import assert_close

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array(0.5)}
GRADS = {"w": jnp.array([0.1, 0.2, -0.3]), "b": jnp.array(-1.0)}


def mask_all(params):
    return True


@schedule
def ramp(top=1.0, steps=10):
    return lambda step: top * jnp.minimum(jnp.asarray(step) / steps, 1.0)


def test_it_unpacks():
    init, update = gradx.adam(0.1)
    updates, _ = update(GRADS, init(PARAMS), PARAMS)
    assert_close(updates, gradx.adam(0.1).update(GRADS, gradx.adam(0.1).init(PARAMS))[0])


@pytest.mark.parametrize(
    ("tx", "text"),
    [
        (gradx.adamw(1e-3), "adamw(learning_rate=0.001)"),
        (gradx.adamw(1, mu_dtype=jnp.bfloat16), "adamw(learning_rate=1.0, mu_dtype='bfloat16')"),
        (
            gradx.chain(gradx.clip(1), gradx.sgd(gradx.linear_schedule(0.0, 1.0, 5))),
            "chain(clip(max_delta=1.0), sgd(learning_rate=linear_schedule(init_value=0.0, end_value=1.0, "
            "transition_steps=5)))",
        ),
        (gradx.masked(gradx.sgd(0.1), {"w": True, "b": False}), None),
        (gradx.partition({"a": gradx.sgd(0.1), "b": gradx.set_to_zero()}, {"w": "a", "b": "b"}), None),
        (gradx.named_chain(("one", gradx.clip(1.0))), "named_chain(('one', clip(max_delta=1.0)))"),
        (gradx.add_decayed_weights(0.1, mask_all), "add_decayed_weights(weight_decay=0.1, mask=mask_all)"),
        (gradx.inject_hyperparams(gradx.sgd)(0.1), "inject_hyperparams(inner_factory=sgd(learning_rate=0.1))"),
        (
            gradx.join_schedules([ramp(2.0), ramp()], [3]),
            "join_schedules(schedules=[ramp(top=2.0), ramp()], boundaries=[3])",
        ),
    ],
    ids=str,
)
def test_it_prints_as_the_call_that_makes_it(tx, text):
    assert text is None or repr(tx) == text
    assert eval(repr(tx), vars(gradx) | globals()) == tx


def test_a_recipe_keeps_its_name_and_expands():
    assert repr(gradx.adamw(0.1).expand()) == (
        "chain(scale_by_adam(), add_decayed_weights(weight_decay=0.0001), scale_by_learning_rate(learning_rate=0.1))"
    )
    assert gradx.scale(2.0).expand() == gradx.scale(2.0)


def test_it_compares_and_hashes():
    assert gradx.adam(0.1) == gradx.adam(0.1, 0.9)
    assert hash(gradx.adam(0.1)) == hash(gradx.adam(0.1, b1=0.9))
    assert gradx.adam(0.1) != gradx.adam(0.2)
    assert gradx.adam(0.1) != gradx.adamw(0.1, weight_decay=0.0)
    assert gradx.adam(0.1) != 0.1
    assert gradx.adam(1) == gradx.adam(1.0)
    assert gradx.adam(0.1, mu_dtype="bfloat16") == gradx.adam(0.1, mu_dtype=jnp.bfloat16)
    array = gradx.scale(np.array([1.0, 2.0]))
    assert array == gradx.scale(np.array([1.0, 2.0])) != gradx.scale(np.array([1.0, 3.0]))
    assert hash(array) == hash(gradx.scale(jnp.array([1.0, 2.0])))
    assert gradx.add_noise(1.0, 0.5, jax.random.key(0)) == gradx.add_noise(1.0, 0.5, jax.random.key(0))
    assert hash(gradx.add_noise(1.0, 0.5, jax.random.key(0))) == hash(gradx.add_noise(1.0, 0.5, jax.random.key(0)))
    for number in (jnp.float32(0.5), np.float32(0.5), np.array(0.5)):
        assert gradx.sgd(number) == gradx.sgd(0.5)
        assert hash(gradx.sgd(number)) == hash(gradx.sgd(0.5))
    assert len({gradx.sgd(0.1), gradx.sgd(0.1), gradx.sgd(0.1, momentum=0.9)}) == 2


def test_bare_functions_make_an_opaque_value():
    def make():
        return gradx.GradientTransformation(lambda params: (), lambda updates, state, params=None: (updates, state))

    tx = make()
    assert tx == tx
    assert tx != make()  # other functions
    updates, _ = tx.update(GRADS, tx.init(PARAMS))
    assert_close(updates, GRADS)


def test_it_pickles_and_copies():
    tx = gradx.chain(gradx.clip(1.0), gradx.adamw(ramp(), mask=mask_all))
    for other in (pickle.loads(pickle.dumps(tx)), copy.copy(tx), copy.deepcopy(tx)):
        assert other == tx
        assert hash(other) == hash(tx)


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError, match=r"adam is a value and cannot be changed"):
        gradx.adam(0.1).learning_rate = 0.2


def test_floats_are_leaves_and_the_rest_is_structure():
    tx = gradx.chain(gradx.clip(1.0), gradx.adam(ramp(2.0, steps=7), nesterov=True))
    assert jax.tree.leaves(tx) == [1.0, 2.0, 0.9, 0.999, 1e-8, 0.0]
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(gradx.adam(0.1))]
    assert names[:2] == [".learning_rate", ".b1"]
    nested = gradx.chain(gradx.clip(1.0), gradx.partition({"a": gradx.sgd(0.1)}, "a"))
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(nested)]
    assert names == [".parts[0].max_delta", ".parts[1].transforms['a'].learning_rate"]
    other = jax.tree.map(lambda x: x * 2, gradx.sgd(0.5, momentum=0.25))
    assert other == gradx.sgd(1.0, momentum=0.5)


def test_unflattening_runs_no_user_code():
    calls = []

    @gradx.transformation
    def watched(rate=0.1):
        calls.append(rate)
        return gradx.scale(rate)

    tx = watched(0.5)
    leaves, treedef = jax.tree.flatten(tx)
    calls.clear()
    treedef.unflatten([object() for _ in leaves])
    jax.tree.map(lambda _: None, tx)
    assert calls == []


def test_an_equal_optimizer_as_a_static_argument_retraces_nothing():
    traces = []

    def step(tx, grads, state):
        traces.append(tx)
        return tx.update(grads, state)

    jitted = jax.jit(step, static_argnums=0)
    state = gradx.adam(0.1).init(PARAMS)
    for _ in range(3):
        jitted(gradx.adam(0.1), GRADS, state)
    assert len(traces) == 1


def test_three_learning_rates_one_trace():
    traces = 0

    @jax.jit
    def step(tx, params, state, grads):
        nonlocal traces
        traces += 1
        updates, state = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state

    state = gradx.adamw(0.1).init(PARAMS)
    for rate in (0.1, 0.2, 0.3):
        tx = gradx.adamw(rate)
        params, _ = step(tx, PARAMS, state, GRADS)
        updates, _ = tx.update(GRADS, state, PARAMS)
        assert_close(params, gradx.apply_updates(PARAMS, updates))
    assert traces == 1


def test_vmap_over_eight_learning_rates_equals_eight_runs():
    rates = [0.001 * 2**i for i in range(8)]

    def train(tx):
        def step(carry, _):
            params, state = carry
            grads = jax.grad(lambda p: jnp.sum((p["w"] - 1.0) ** 2) + p["b"] ** 4)(params)
            updates, state = tx.update(grads, state, params)
            return (gradx.apply_updates(params, updates), state), updates["b"]

        (params, _), history = jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), length=20)
        return params, history

    stacked = jax.tree.map(lambda *x: jnp.stack(x), *[gradx.adamw(rate) for rate in rates])
    together = jax.vmap(train)(stacked)
    for i, rate in enumerate(rates):
        assert_close(jax.tree.map(lambda x, i=i: x[i], together), train(gradx.adamw(rate)))


def test_hypergradients_are_shaped_like_the_optimizer():
    def after(tx):
        params, state = PARAMS, tx.init(PARAMS)
        for _ in range(3):
            updates, state = tx.update(params, state, params)  # the gradient of half the squared norm
            params = gradx.apply_updates(params, updates)
        return gradx.tree.norm(params, squared=True)

    tx = gradx.sgd(0.1, momentum=0.9)
    gradient = jax.grad(after)(tx)
    assert jax.tree.structure(gradient) == jax.tree.structure(tx)
    width = 1e-3
    difference = after(gradx.sgd(0.1 + width, momentum=0.9)) - after(gradx.sgd(0.1 - width, momentum=0.9))
    np.testing.assert_allclose(gradient.arguments["learning_rate"], difference / (2 * width), rtol=1e-2)


def test_any_float_may_be_a_schedule():
    tx = gradx.chain(gradx.clip_by_global_norm(ramp(4.0, 4)), gradx.scale_by_adam(b1=lambda step: 0.5))
    plain = [gradx.chain(gradx.clip_by_global_norm(bound), gradx.scale_by_adam(b1=0.5)) for bound in (0.0, 1.0, 2.0)]
    state, other = tx.init(PARAMS), plain[0].init(PARAMS)
    for step in range(3):
        updates, state = tx.update(GRADS, state, PARAMS)
        expected, other = plain[step].update(GRADS, other, PARAMS)
        assert_close(updates, expected)


def test_an_argument_that_wants_a_schedule_gets_it():
    tx = gradx.MultiSteps(gradx.sgd(1.0), gradx.piecewise_constant_schedule(2.0, {2: 1.5}))
    state, moved = tx.init(PARAMS), []
    for _ in range(7):
        updates, state = tx.update(GRADS, state, PARAMS)
        moved.append(bool(updates["b"] != 0))
    assert moved == [False, True, False, True, False, False, True]  # counted in inner updates, not in calls


def test_only_named_extras_arrive():
    seen = {}

    @gradx.transformation
    def spy():
        def update(updates, state, params=None, *, value, key=None):
            seen.update(value=value, key=key)
            return updates, state

        return lambda params: gradx.EmptyState(), update

    tx = gradx.chain(gradx.clip(1.0), spy(), optax.scale(2.0))
    tx.update(GRADS, tx.init(PARAMS), PARAMS, value=jnp.float32(3.0), other=1.0)
    assert seen["value"].shape == ()
    assert seen["key"] is None
    with pytest.raises(TypeError, match=r"spy needs value: call tx.update\(updates, state, params, value=...\)"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)


def test_an_update_whose_extras_are_all_keywords_gets_the_parameters_among_them():
    seen = {}

    def update(updates, state, *, value=None, **rest):
        seen.update(rest, value=value)
        return updates, state

    tx = gradx.GradientTransformation(lambda params: gradx.EmptyState(), update)
    tx.update(GRADS, tx.init(PARAMS), PARAMS, value=3.0, other=1.0)
    assert (seen["value"], seen["other"]) == (3.0, 1.0)
    assert jax.tree.structure(seen["params"]) == jax.tree.structure(PARAMS)


def test_an_update_that_takes_anything_gets_the_parameters_third():
    seen = []

    def update(*args, **rest):
        seen.extend(args)
        return args[:2]

    tx = gradx.GradientTransformation(lambda params: gradx.EmptyState(), update)
    tx.update(GRADS, tx.init(PARAMS), PARAMS)
    assert jax.tree.structure(seen[2]) == jax.tree.structure(PARAMS)


def test_functions_among_the_extras_reach_the_update():
    @gradx.transformation
    def by_value():
        def update(updates, state, params, *, value_fn):
            return gradx.tree.scale(value_fn(params), updates), state

        return lambda params: gradx.EmptyState(), update

    updates, _ = by_value().update(GRADS, gradx.EmptyState(), PARAMS, value_fn=lambda p: p["b"])
    assert_close(updates, gradx.tree.scale(0.5, GRADS))


def test_missing_params_are_named():
    tx = gradx.adamw(0.1)
    with pytest.raises(TypeError, match=r"add_decayed_weights needs params: call tx.update\(updates, state, params\)"):
        tx.update(GRADS, tx.init(PARAMS))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradx.adam(0.1, b1=1.5), r"adam: b1 must be in \[0, 1\), got 1.5"),
        (lambda: gradx.adam(0.1, eps=-1), r"adam: eps must be in \[0, inf\], got -1"),
        (lambda: gradx.adam("0.1"), r"adam: learning_rate must be a number or a schedule, got '0.1'"),
        (lambda: gradx.adam(float("nan")), r"learning_rate must be in \[0, inf\], got nan"),
        (lambda: gradx.adam(True), r"learning_rate must be a number or a schedule, got True"),
        (lambda: gradx.adam(), r"adam\(\): missing a required argument: 'learning_rate'"),
        (lambda: gradx.adam(0.1, beta1=0.9), r"adam\(\): got an unexpected keyword argument 'beta1'"),
        (lambda: gradx.adam(0.1, mu_dtype="float3"), r"adam: mu_dtype must name a dtype, got 'float3'"),
        (lambda: gradx.MultiSteps(gradx.sgd(0.1), 0), r"every_k_schedule must be in \[1, inf\], got 0"),
        (lambda: gradx.MultiSteps(gradx.sgd(0.1), 2.5), r"every_k_schedule must be an integer, got 2.5"),
        (lambda: gradx.add_noise(1.0, 0.5), r"add_noise: give either key or seed"),
        (lambda: gradx.stateless({1, 2}), r"stateless: arguments must be hashable or arrays"),
        (lambda: gradx.sgd(0.1).replace(rate=1), r"sgd has no argument 'rate'; it has learning_rate, momentum"),
    ],
)
def test_hyperparameters_are_checked_when_the_value_is_made(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_a_traced_value_equals_itself_alone():
    def compare(rate):
        tx = gradx.sgd(rate)
        return tx == jax.tree.map(lambda x: x, tx), tx == gradx.sgd(rate + 0), tx == gradx.sgd(0.1)

    assert jax.jit(compare)(0.1) == (True, False, False)


def test_a_traced_value_says_why_it_cannot_be_hashed():
    def step(rate):
        return hash(gradx.sgd(rate))

    with pytest.raises(TypeError, match=r"sgd holds a traced argument and cannot be hashed"):
        jax.jit(step)(0.1)


def test_mistakes_are_caught_with_the_path_of_the_leaf():
    tx = gradx.adam(0.1)
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"adam: params has a leaf at 'b' that updates lacks"):
        tx.update({"w": GRADS["w"]}, state, PARAMS)
    with pytest.raises(ValueError, match=r"updates at 'w' is float32\[2\], but params says float32\[3\]"):
        tx.update({"w": jnp.ones(2), "b": GRADS["b"]}, state, PARAMS)
    other = {"w": jnp.ones(5), "b": jnp.ones(())}
    with pytest.raises(ValueError, match=r"the state at '0/mu/w' is float32\[3\], but init says float32\[5\]"):
        tx.update(other, state, other)
    with pytest.raises(ValueError, match=r"adam: .*the state"):
        tx.update(GRADS, gradx.sgd(0.1, momentum=0.9).init(PARAMS), PARAMS)
    wrong = jax.tree.map(lambda x: x.astype(jnp.float16) if x.dtype == jnp.float32 else x, state)
    with pytest.raises(ValueError, match=r"the state at '0/mu/b' is float16\[\], but init says float32\[\]"):
        tx.update(GRADS, wrong, PARAMS)


def test_un_jitted_calls_run_one_compiled_program(monkeypatch):
    tx = gradx.adamw(0.123)
    state = tx.init(PARAMS)
    tx.update(GRADS, state, PARAMS)
    from gradx import boundary

    def fail(*args):
        raise AssertionError("traced again")

    monkeypatch.setattr(boundary, "run_update", fail)
    tx.update(GRADS, state, PARAMS)
    gradx.adamw(0.456).update(GRADS, state, PARAMS)  # another learning rate, the same program
    with pytest.raises(AssertionError, match="traced again"):
        gradx.nadamw(0.1).update(GRADS, state, PARAMS)


def test_profilers_see_the_names():
    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(0.1))
    state = tx.init(PARAMS)
    text = jax.jit(lambda g, s: tx.update(g, s, PARAMS)).lower(GRADS, state).compile().as_text()
    assert "clip_by_global_norm" in text
    assert "adamw/" in text


def test_factories_keep_signature_and_docstring():
    import inspect

    assert list(inspect.signature(gradx.sgd).parameters)[:2] == ["learning_rate", "momentum"]
    assert gradx.sgd.__doc__.startswith("Gradient descent")
    assert gradx.sgd.__module__ == "gradx.optimizers.sgd"
