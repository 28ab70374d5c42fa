"""Where Optax's optimizers and line searches go another way than gradx, the shim goes Optax's."""

import contextlib
import inspect
import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradx.compat import optax as shim
from gradx.compat.optax import contrib
from gradx.compat.optax._src import base, linesearch
from gradx.compat.optax.contrib import _muon
from gradx.testing import assert_close

# Line searches

SEARCHES = {
    "backtracking": lambda lib, **options: lib.scale_by_backtracking_linesearch(10, **options),
    "zoom": lambda lib, **options: lib.scale_by_zoom_linesearch(10, **options),
}


def bowl(x):
    return jnp.sum(jnp.abs(x) ** 2)


def searched(tx, x, u, fun=bowl, grad=None, **extras):
    grad = jax.grad(fun)(x) if grad is None else grad
    return tx.update(u, tx.init(x), x, value=fun(x), grad=grad, value_fn=fun, **extras)


@pytest.mark.parametrize("name", SEARCHES)
def test_an_extra_that_nothing_takes_is_refused(name):
    tx, x = SEARCHES[name](shim), jnp.array([3.0, 1.0])
    with pytest.raises(TypeError, match=r"Unexpected keyword arguments .*\['unused'\]"):
        searched(tx, x, -x, unused=1)
    searched(tx, x, -x, fun=lambda x, batch=2.0: batch * bowl(x), batch=3.0)
    searched(tx, x, -x, fun=lambda x, **rest: bowl(x), anything=3.0)


def test_two_searches_in_a_state_are_a_key_error():
    tx = shim.chain(SEARCHES["zoom"](shim), SEARCHES["backtracking"](shim))
    with pytest.raises(KeyError, match="multiple values"):
        shim.value_and_grad_from_state(bowl)(jnp.ones(2), state=tx.init(jnp.ones(2)))


@pytest.mark.parametrize("name", SEARCHES)
def test_complex_gradients_are_taken_as_optax_takes_them(name):
    """Of its two searches, one wants what `jax.grad` gives, the other the conjugate."""
    x, found = jnp.array([1.0 + 2.0j, -0.5j]), []
    given = jax.grad(bowl)(x) if name == "backtracking" else jnp.conj(jax.grad(bowl)(x))
    for lib in (optax, shim):
        updates, _ = searched(SEARCHES[name](lib), x, -jnp.conj(jax.grad(bowl)(x)), grad=given)
        found.append(bowl(x + updates))
    assert found[1] < 0.9 * bowl(x)
    assert (found[0] < 0.9 * bowl(x)) == (found[1] < 0.9 * bowl(x))


TOLD = {
    "uphill": (jnp.array([3.0]), jnp.array([1.0]), {}, ["NO_STEPSIZE_FOUND", "NOT_A_DESCENT_DIRECTION"]),
    "bounded": (
        jnp.array([-60.0]),
        jnp.array([1.0]),
        {"curv_rtol": 0.5, "max_learning_rate": 10.0},
        ["INTERVAL_NOT_FOUND", "CURVATURE_COND_NOT_SATISFIED"],
    ),
    "good": (jnp.array([-3.0]), jnp.array([3.0]), {}, []),
}


@pytest.mark.parametrize("name", TOLD)
def test_failures_are_told_by_optax_flags(name):
    x, u, options, flags = TOLD[name]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        searched(shim.scale_by_zoom_linesearch(10, verbose=True, **options), x, u)
        jax.effects_barrier()
    known = {name: text for name, text in vars(linesearch).items() if name.startswith("FLAG_")}
    assert len(known) == 5
    assert sorted(name for name, text in known.items() if text in said.getvalue()) == sorted(f"FLAG_{x}" for x in flags)


# Optimizers


@pytest.mark.parametrize("scaled", [True, False])
def test_lbfgs_takes_pairs_as_they_are(scaled):
    """Also where the function bends down, and s·y is negative."""

    def himmelblau(x):
        return (x[0] ** 2 + x[1] - 11.0) ** 2 + (x[0] + x[1] ** 2 - 7.0) ** 2

    paths = []
    for lib in (optax, shim):
        tx = lib.lbfgs(1e-3, memory_size=3, scale_init_precond=scaled, linesearch=None)
        params = jnp.array([0.1, 0.1])
        state = tx.init(params)
        path = []
        for _ in range(6):
            updates, state = tx.update(jax.grad(himmelblau)(params), state, params)
            params = lib.apply_updates(params, updates)
            path.append(params)
        paths.append(path)
        assert bool(jnp.any(state[0].weights_memory < 0))
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-4)
    with pytest.raises(ValueError, match=r"memory_size must be (>=|in)"):
        shim.scale_by_lbfgs(0)


def test_muon_marks_what_is_no_matrix():
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2), "k": {"a": jnp.ones((2, 3, 4)), "z": jnp.ones((2, 3))}}
    axes = {"w": _muon.MuonDimensionNumbers(), "b": None, "k": {"a": _muon.MuonDimensionNumbers(1, 2), "z": None}}
    found = []
    for lib in (optax.contrib, contrib):
        tx = lib.muon(0.1, muon_weight_dimension_numbers=axes if lib is contrib else _theirs(axes))
        updates, state = tx.update(params, tx.init(params), params)
        mu = state[0]["muon"][0][0][1]
        masked = jax.tree.map(lambda x: type(x).__name__ == "MaskedNode", mu, is_leaf=_is_masked)
        assert masked == {"w": False, "b": True, "k": {"a": False, "z": True}}
        found.append(updates)
    assert_close(found[1], found[0], rtol=1e-4)


def _theirs(axes):
    return jax.tree.map(lambda x: optax.contrib.MuonDimensionNumbers(*x), axes, is_leaf=lambda x: isinstance(x, tuple))


def _is_masked(x):
    return type(x).__name__ == "MaskedNode"


def test_muon_steps_once_for_each_row_of_coefficients():
    rows = ((3.0, -3.2, 1.2), (2.0, -1.5, 0.5))
    x = jnp.array([[3.0, 1.0], [0.5, 1.0]])
    theirs = optax.contrib.scale_by_muon(rows, 9, weight_dimension_numbers=optax.contrib.MuonDimensionNumbers())
    found = [tx.update(x, tx.init(x))[0] for tx in (theirs, contrib.scale_by_muon(rows, 9))]
    assert_close(found[1], found[0], rtol=1e-4)


def test_arrays_are_made_matrices_and_back():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    axes = _muon.MuonDimensionNumbers(reduction_axis=2, output_axis=(0, -1))
    there, back = _muon._compute_muon_reshape(x, axes)
    assert there(x).shape == (3, 4, 10)
    np.testing.assert_array_equal(back(there(x)), x)
    y = _muon.orthogonalize_via_newton_schulz(x, jnp.array([1.5, -0.5, 0.0]), 40, dimension_numbers=axes)
    gram = there(y) @ there(y).mT
    np.testing.assert_allclose(gram, jnp.broadcast_to(jnp.eye(4), gram.shape), atol=1e-4)
    with pytest.raises(ValueError, match="must be disjoint"):
        _muon._compute_muon_reshape(x, _muon.MuonDimensionNumbers(1, (0, 1)))
    with pytest.raises(ValueError, match="rank >= 2"):
        _muon._compute_muon_reshape(jnp.ones(3), axes)
    with pytest.raises(ValueError, match="dimension numbers must be provided"):
        _muon.orthogonalize_via_newton_schulz(x, jnp.ones(3))
    with pytest.raises(ValueError, match=r"shape \(3,\) or \(n, 3\)"):
        _muon.orthogonalize_via_newton_schulz(x[0, 0], jnp.ones(4))


def test_a_mode_of_lion_is_refused_at_its_update():
    tx = shim.scale_by_lion(mode="soft")
    with pytest.raises(ValueError, match="Unsupported mode: soft"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


@pytest.mark.parametrize("make", [lambda **k: shim.add_noise(0.1, 0.5, **k), lambda **k: shim.noisy_sgd(0.1, **k)])
def test_noise_without_a_key_is_that_of_0(make):
    with pytest.warns(UserWarning, match="give key="):
        tx = make()
    assert_close(*(t.update(jnp.ones(3), t.init(jnp.ones(3)))[0] for t in (tx, make(key=0))))
    with pytest.raises(ValueError, match="Only one of seed or key"):
        make(key=0, seed=1)


def test_a_rate_is_annotated_as_optax_annotates_it():
    for name in ("adam", "sgd", "lbfgs", "adafactor", "rmsprop"):
        assert inspect.signature(getattr(shim, name)).parameters["learning_rate"].annotation in (
            base.ScalarOrSchedule, base.Schedule, "float | Schedule | None", "float | None",
        )  # fmt: skip
    annotation = inspect.signature(shim.adam).parameters["learning_rate"].annotation
    assert annotation == base.ScalarOrSchedule
    assert repr(annotation) == "float | Schedule"
    assert annotation != base.Schedule
