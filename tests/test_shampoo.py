"""Shampoo: what it reduces to, how it turns, whose length it takes, when its roots are renewed, what it costs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.testing import assert_close
from tests.histories import history, normal, rotation

AT_ONCE = {"b1": 0.0, "graft": None, "update_interval": 1}


# What it reduces to


@pytest.mark.parametrize("root", [2, 4])
def test_blocks_of_one_entry_are_adagrad_with_its_exponent(root):
    grads = normal(0, 5, 3, 4)
    tx = gradx.scale_by_shampoo(ridge=0.0, factors="sum", max_size=1, root=root, **AT_ONCE)
    total = jnp.cumsum(grads**2, axis=0)
    assert_close(history(tx, grads), grads / total ** (2 / root), rtol=1e-4)
    if root == 4:
        assert_close(history(tx, grads), history(gradx.scale_by_rss(0.0, eps=0.0), grads), rtol=1e-4)


@pytest.mark.parametrize("hyper", [{"one_sided": True}, {"root": 4}, {"inverse": "newton"}], ids=str)
@pytest.mark.parametrize("shape", [(3, 5), (4, 4), (5, 3)])
def test_one_gradient_is_whitened(shape, hyper):
    """(g gᵀ)^(-1/2) g = (g gᵀ)^(-1/4) g (gᵀ g)^(-1/4) = U Vᵀ, from the first time on."""
    g = normal(1, *shape)
    u, _, v = np.linalg.svd(g, full_matrices=False)
    tx = gradx.scale_by_shampoo(b2=0.9, ridge=1e-6, **hyper, **AT_ONCE)
    for update in history(tx, jnp.stack([g, g, g])):
        assert_close(update, u @ v, atol=2e-3)


def test_what_is_no_matrix_goes_by_adam():
    grads = {"bias": normal(2, 6, 3), "scale": normal(3, 6), "heads": normal(4, 6, 2, 3, 2), "w": normal(5, 6, 2, 2)}
    adam, ours = (history(make(0.8, 0.9, 1e-3), grads) for make in (gradx.scale_by_adam, gradx.scale_by_shampoo))
    for name in ("bias", "scale", "heads"):
        assert_close(ours[name], adam[name])


def test_both_sides_too_large_are_adam():
    grads = normal(2, 6, 3, 4)
    tx = gradx.scale_by_shampoo(0.8, 0.9, 1e-3, max_size=2, when_larger="one_sided")
    assert_close(history(tx, grads), history(gradx.scale_by_adam(0.8, 0.9, 1e-3), grads))


# How it turns


@pytest.mark.parametrize("hyper", [{}, {"one_sided": True}, {"inverse": "newton"}, {"root": 2}], ids=str)
def test_turned_gradients_are_turned_updates(hyper):
    grads, u, v = normal(6, 5, 4, 3), rotation(0, 4), rotation(1, 3)
    tx = gradx.scale_by_shampoo(graft="sgd", ridge=1e-3, update_interval=2, **hyper)
    assert_close(history(tx, u @ grads @ v.T), u @ history(tx, grads) @ v.T, rtol=1e-3, atol=1e-4)


def test_a_transposed_gradient_is_a_transposed_update():
    grads = normal(6, 5, 4, 3)
    tx = gradx.scale_by_shampoo(graft="adam", ridge=1e-3, update_interval=2)
    assert_close(history(tx, grads.mT), history(tx, grads).mT, rtol=1e-4, atol=1e-5)


WAYS = [
    {"graft": "sgd", "max_size": 2},
    {"graft": "rmsprop", "max_size": 3, "when_larger": "diagonal"},
    pytest.param({"update_interval": 2}, marks=pytest.mark.slow),
    pytest.param({"graft": None, "max_size": 3, "when_larger": "one_sided"}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("hyper", WAYS, ids=str)
def test_stacked_layers_are_a_batch(hyper):
    grads = normal(7, 4, 5, 4, 3)
    tx = gradx.scale_by_shampoo(ridge=1e-2, weight_dimension_numbers=True, **hyper)
    alone = jnp.stack([history(tx, grads[:, i]) for i in range(5)], axis=1)
    assert_close(history(tx, grads), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hyper", WAYS, ids=str)
def test_the_same_matrix_in_two_leaves_is_two_matrices(hyper):
    grads = {"a": normal(8, 4, 4, 3), "b": normal(9, 4, 4, 3), "c": normal(10, 4, 3, 4)}
    tx = gradx.scale_by_shampoo(ridge=1e-2, **hyper)
    together = history(tx, grads)
    for name, g in grads.items():
        assert_close(together[name], history(tx, g), rtol=1e-4, atol=1e-5)


def test_blocks_are_shampoo_each():
    grads = normal(8, 4, 4, 6)
    tx = gradx.scale_by_shampoo(ridge=1e-2, graft=None, update_interval=1, max_size=3)
    whole = history(tx, grads)
    assert_close(whole[:, 2:, 3:], history(tx, grads[:, 2:, 3:]), rtol=1e-4, atol=1e-5)


def test_a_diagonal_factor_is_the_diagonal():
    grads = jnp.stack([jnp.diag(x) for x in normal(9, 4, 3)])  # whose second moments are diagonal
    full, diagonal = (gradx.scale_by_shampoo(ridge=1e-2, max_size=n, when_larger="diagonal", **AT_ONCE) for n in (3, 2))
    assert_close(history(diagonal, grads), history(full, grads), rtol=1e-4, atol=1e-5)


def test_both_inverse_roots_agree():
    grads = normal(10, 4, 6, 4)
    ways = [gradx.scale_by_shampoo(ridge=1e-3, update_interval=1, inverse=x) for x in ("eigh", "newton")]
    assert_close(*(history(tx, grads) for tx in ways), rtol=2e-3, atol=2e-4)


def test_complex_matrices_keep_their_phases():
    g = normal(11, 3, 4) + 1j * normal(12, 3, 4)
    u, _, v = np.linalg.svd(g, full_matrices=False)
    for inverse in ("eigh", "newton"):
        tx = gradx.scale_by_shampoo(b2=0.0, inverse=inverse, one_sided=True, **AT_ONCE)
        assert_close(tx.update(g, tx.init(g))[0], u @ v, atol=2e-3)


# Grafting


@pytest.mark.parametrize(
    ("graft", "other"),
    [
        ("adam", gradx.scale_by_adam(0.8, 0.9, 1e-3)),
        ("sgd", gradx.ema(0.8)),
        ("rmsprop", gradx.scale_by_rms(0.9, 1e-3, eps_in_sqrt=False)),
    ],
)
def test_an_update_has_the_length_of_anothers(graft, other):
    grads = normal(13, 6, 2, 3, 4)
    tx = gradx.scale_by_shampoo(0.8, 0.9, 1e-3, graft=graft, update_interval=3, weight_dimension_numbers=True)
    ours, theirs = history(tx, grads), history(other, grads)
    assert_close(jnp.linalg.norm(ours, axis=(-2, -1)), jnp.linalg.norm(theirs, axis=(-2, -1)), rtol=1e-4)
    assert_close(ours[:2], theirs[:2])  # before the roots are there
    assert not np.allclose(ours[2], theirs[2], atol=1e-2)


def test_squares_are_kept_only_where_they_are_needed():
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    for graft, kept in (("adam", True), ("rmsprop", True), ("sgd", False), (None, False)):
        nu = gradx.scale_by_shampoo(graft=graft).init(params).nu
        assert (nu["w"] is not None) == kept
        assert nu["b"].shape == (3,)


# Renewal and cost


def test_roots_are_renewed_at_intervals():
    tx, g = gradx.scale_by_shampoo(update_interval=3), normal(14, 7, 2, 3)
    state, seen = tx.init(g[0]), []
    for x in g:
        _, state = tx.update(x, state)
        seen.append(np.asarray(state.left_root))
    changed = [not np.array_equal(a, b) for a, b in zip([0 * seen[0], *seen[:-1]], seen, strict=True)]
    assert changed == [False, False, True, False, False, True, False]


PARAMS = {"w": jnp.ones((96, 64)), "bias": jnp.ones(10)}
FAMILY = [
    gradx.shampoo(0.1),
    gradx.soap(0.1),
    gradx.kl_shampoo(0.1),
    gradx.kron(0.1),
    pytest.param(gradx.kl_soap(0.1), marks=pytest.mark.slow),
    pytest.param(gradx.kron(0.1, geometry="dense"), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("tx", FAMILY, ids=str)
def test_states_are_renewed_in_place(tx):
    """Every buffer given away is used again, and a step that renews nothing hands the factors on as they are."""
    held = sum(x.nbytes for x in jax.tree.leaves((PARAMS, tx.init(PARAMS))))
    assert compiled_step_of(tx).memory_analysis().alias_size_in_bytes == held
    program = jax.make_jaxpr(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)
    conditionals = [eqn for eqn in program.eqns if eqn.primitive.name == "cond"]
    assert conditionals
    for eqn in conditionals:
        untouched = min((branch.jaxpr for branch in eqn.params["branches"]), key=lambda x: len(x.eqns))
        assert not untouched.eqns
        assert set(untouched.outvars) <= set(untouched.invars)


@functools.cache
def compiled_step_of(tx):
    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state

    return step.lower(PARAMS, tx.init(PARAMS), PARAMS).compile()


FACTORS = 4 * (96 * 96 + 64 * 64)
"""Bytes of one array for each side."""
TEMPORARIES = {"shampoo": 6, "soap": 6, "kl_shampoo": 7, "kl_soap": 8, "kron": 10}


@pytest.mark.parametrize("tx", FAMILY, ids=str)
def test_temporaries_are_those_of_the_linear_algebra(tx):
    """So many times the factors, most of it inside the renewal."""
    assert compiled_step_of(tx).memory_analysis().temp_size_in_bytes <= TEMPORARIES[tx.name] * FACTORS


@pytest.mark.parametrize("tx", FAMILY, ids=str)
def test_a_matrix_without_a_gradient_stays_as_it_is(tx):
    params = {"w": normal(0, 3, 4), "still": normal(1, 3, 4), "b": jnp.ones(3)}
    state = tx.init(params)
    for seed in range(3):
        grads = {"w": normal(seed, 3, 4), "still": None, "b": jnp.ones(3)}
        before, (updates, state) = state, tx.update(grads, state, params)
        assert updates["still"] is None
        for field in before[0]._fields:
            old, new = (getattr(s[0], field) for s in (before, state))
            if isinstance(old, dict):
                assert_close(new["still"], old["still"])


@pytest.mark.parametrize("tx", FAMILY, ids=str)
def test_a_masked_matrix_is_passed_on(tx):
    """The others are stepped as if it were not there."""
    params = {"w": normal(0, 3, 4), "still": normal(1, 3, 4)}
    masked, alone = gradx.masked(tx, {"w": True, "still": False}), {"w": params["w"]}
    states = [masked.init(params), tx.init(alone)]
    for seed in range(3):
        grads = {"w": normal(seed, 3, 4), "still": normal(seed, 3, 4)}
        updates, states[0] = masked.update(grads, states[0], params)
        expected, states[1] = tx.update({"w": grads["w"]}, states[1], alone)
        assert_close(updates, expected | {"still": grads["still"]})


@pytest.mark.parametrize("tx", FAMILY, ids=str)
def test_a_gradient_that_is_no_number_stays_in_its_matrix(tx):
    params = {"w": normal(0, 3, 4), "other": normal(1, 3, 4), "b": jnp.ones(3)}
    state, updates = tx.init(params), None
    for seed in range(3):
        grads = {"w": normal(seed, 3, 4).at[1, 2].set(jnp.nan), "other": normal(seed, 3, 4), "b": jnp.ones(3)}
        updates, state = tx.update(grads, state, params)
    assert np.isnan(updates["w"]).any()
    assert np.isfinite(updates["other"]).all()
    assert np.isfinite(updates["b"]).all()


@pytest.mark.parametrize("tx", FAMILY, ids=lambda tx: str(tx))
def test_a_quadratic_bowl_is_gone_down(tx):
    """‖A (p - q) B‖², whose curvature is a Kronecker product of condition 10^4."""
    a, b = jnp.diag(jnp.geomspace(1.0, 10.0, 4)), jnp.diag(jnp.geomspace(1.0, 10.0, 3))

    def loss(p):
        return jnp.sum((a @ (p - 1.0) @ b) ** 2)

    def step(carry, _):
        p, state = carry
        updates, state = tx.update(jax.grad(loss)(p), state, p)
        return (gradx.apply_updates(p, updates), state), None

    start = normal(3, 4, 3)  # whose gradient has all ranks: of one rank the bases would turn rounding, here above eps
    tx = tx.replace(learning_rate=gradx.cosine_decay_schedule(0.1, 300), weight_decay=0.0)
    (p, _), _ = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=300))(start)
    assert float(loss(p)) < 1e-3 * float(loss(start))


MISTAKES = [
    (lambda: gradx.shampoo(0.1, graft="adagrad"), "graft must be one of 'adam', 'rmsprop', 'sgd', None"),
    (lambda: gradx.shampoo(0.1, inverse="svd"), "inverse must be one of"),
    (lambda: gradx.scale_by_shampoo(factors="product"), "factors must be one of"),
    (lambda: gradx.shampoo(0.1, when_larger="cut"), "when_larger must be one of 'blocks', 'diagonal', 'one_sided'"),
    (lambda: gradx.soap(0.1, when_larger="diagonal"), "when_larger must be one of 'one_sided', 'blocks'"),
    (lambda: gradx.kl_soap(0.1, when_larger="no"), "scale_by_kl_soap: when_larger must be"),
    (lambda: gradx.kron(0.1, geometry="sparse"), "geometry must be one of 'triangular', 'dense'"),
    (lambda: gradx.kron(0.1, update_probability=1.5), r"update_probability must be in \[0, 1\]"),
    (lambda: gradx.shampoo(0.1, root=0), "root must be in"),
    (lambda: gradx.soap(0.1, update_interval=0), "update_interval must be in"),
    (lambda: gradx.soap(0.1, weight_dimension_numbers=True).init(jnp.ones(3)), "is no matrix"),
]


@pytest.mark.parametrize(("make", "words"), MISTAKES, ids=[words for _, words in MISTAKES])
def test_mistakes_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
