"""Ours beside what `pytorch_optimizer` and `heavyball` did on one problem, as `tests/oracles/peers.py` recorded it.

Where a peer departs from the paper, arguments or the start of a state make ours depart alike. Left out:

- AdaMuon of `pytorch_optimizer`: it makes the momentum orthogonal, the paper (2507.11005, Algorithm 1) its signs.
- Kron of heavyball: it divides each fit by a running maximum of the sizes, the papers by the size at hand.
- KL-Shampoo and KL-SOAP of heavyball: their eigenvalues are those of S in the present basis, in the paper means of
  their own; and S starts at 0.1 times the identity, or without weights.
- What is no matrix in SOAP, and decay: the peers skip all of the first update, not only that of a matrix.
- Shampoo with momentum of `pytorch_optimizer`: it averages a gradient with the preconditioned one before.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.matrices import Layout
from gradx.optimizers import psgd
from gradx.testing import assert_close
from tests.oracles import peers
from tests.oracles.peers import LR, MATRICES, PEERS, PROBES, STEPS

RATE = gradx.sgd(LR)
BY_NAME = {peer.name: peer for peer in PEERS}


def outputs_first(params):
    """Torch's layers have the outputs along their rows; here they are columns."""
    return {name: Layout((1,), (0,)) if name in MATRICES else None for name in params}


def muon():
    """Its Nesterov is left out: ours is debiased, as Optax's is, and the peer's is not."""
    hyper = {"nesterov": False, "shape_scaling": "moonlight", "muon_weight_dimension_numbers": outputs_first}
    return gradx.muon(LR, beta=0.8, weight_decay=0.1, adam_b2=0.95, adam_eps_root=0.0, **hyper)


def normuon():
    hyper = {"nesterov": True, "weight_dimension_numbers": outputs_first}
    return gradx.normuon(LR, 0.8, 0.9, shape_scaling="moonlight", weight_decay=0.1, **hyper)


OURS = {
    "SOAP": lambda: gradx.soap(LR, 0.8, 0.9, 1e-30, weight_decay=0.0, update_interval=3),
    "SOAP, a side above the bound": lambda: gradx.soap(
        LR, 0.8, 0.9, 1e-30, weight_decay=0.0, update_interval=2, max_size=4
    ),
    "SOAP of heavyball": lambda: gradx.soap(LR, 0.8, 0.9, 1e-12, weight_decay=0.0, update_interval=1),
    "Shampoo": lambda: gradx.chain(
        gradx.scale_by_shampoo(0.0, ridge=0.0, graft=None, factors="sum", update_interval=1), RATE
    ),
    "Shampoo in blocks, grafted onto RMSProp": lambda: gradx.chain(
        gradx.scale_by_shampoo(0.0, 0.9, 1e-3, ridge=0.0, graft="rmsprop", update_interval=1, max_size=2), RATE
    ),
    "Kron": lambda: gradx.chain(
        gradx.scale_by_kron(0.7, preconditioner_lr=0.3, update_probability=1.0, damping=0.0), RATE
    ),
    "Muon": muon,
    "NorMuon": normuon,
    "Scion": lambda: gradx.chain(
        gradx.scale_by_scion("spectral", 3.0, 0.7, weight_dimension_numbers=outputs_first),
        gradx.add_decayed_weights(1.0),
        RATE,
    ),
    "Adan": lambda: gradx.adan(LR, 0.9, 0.8, 0.95, 1e-3, eps_root=0.0, weight_decay=0.0),
    "ADOPT": lambda: gradx.adopt(  # the authors clip at t - 1 updates, the peer at t
        LR, 0.8, 0.95, 1e-6, clip_value_fn=lambda count: (count + 1.0) ** 0.25
    ),
    "Lion": lambda: gradx.lion(LR, 0.8, 0.95, weight_decay=0.1),
}

STARTS = {"Shampoo": 1e-2, "Shampoo in blocks, grafted onto RMSProp": 1e-2, "Kron": 1.0}
"""The multiple of the identity at which a peer's factors start: ours start at 0, or the scale of the gradient."""
TOLERANCES = {"SOAP": 1e-4, "SOAP, a side above the bound": 1e-4, "SOAP of heavyball": 1e-4, "Kron": 1e-4}
"""SOAP of `pytorch_optimizer` decomposes in float32, that of heavyball adds 1e-8 to what it decomposes, Kron runs in
float32 and adds 1e-6 to a root mean square; all else agrees to float64."""


def identity_like(factor, scale):
    if factor.ndim == 3:
        return scale * jnp.broadcast_to(jnp.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
    return jnp.full_like(factor, scale)


def started(state, scale):
    """Return a state whose factors start at a multiple of the identity."""
    for side in ("left", "right"):
        factors = jax.tree.map(functools.partial(identity_like, scale=scale), gradx.tree.get(state, side))
        state = gradx.tree.set(state, **{side: factors})
    return state


@pytest.fixture
def probes_of_the_peer(monkeypatch):
    """Let PSGD draw what the peer drew: by the key, which tells the step, and by the size of the matrix."""
    key, keys = jax.random.key(0), []
    for _ in range(STEPS):
        key, own, _ = jax.random.split(key, 3)
        keys.append(jax.random.key_data(own))
    of_size = {np.atleast_2d(x[0]).shape: x.reshape(STEPS, *np.atleast_2d(x[0]).shape) for x in PROBES.values()}

    def noise(key, g):
        step = jnp.argmax(jnp.all(jax.random.key_data(key) == jnp.stack(keys), axis=-1))
        return jnp.asarray(of_size[g.shape[1:]], g.dtype)[step][None]

    monkeypatch.setattr(psgd, "noise", noise)


def run(name):
    """Return our parameters after each step."""
    peer, tx = BY_NAME[name], OURS[name]()
    params, path = {key: jnp.asarray(x) for key, x in peers.start(peer).items()}, []
    state = tx.init(params)
    state = started(state, STARTS[name]) if name in STARTS else state
    update = jax.jit(lambda *x: tx.update(*x))
    for step in range(STEPS):
        grads = peers.gradient({key: np.asarray(x) for key, x in params.items()}, step)
        updates, state = update(grads, state, params)
        params = gradx.apply_updates(params, updates)
        path.append(params)
    return {key: np.stack([np.asarray(x[key]) for x in path]) for key in params}


@pytest.mark.parametrize("name", OURS)
def test_the_peer_took_the_same_steps(name, probes_of_the_peer):
    theirs = peers.path_of(BY_NAME[name])
    with jax.enable_x64(BY_NAME[name].dtype == "float64"):
        ours = run(name)
    tolerance = TOLERANCES.get(name, 1e-7)
    assert {x.dtype for x in ours.values()} == {x.dtype for x in theirs.values()}
    assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_every_record_is_compared():
    names = {key.partition("|")[0] for key in peers.kept()} - {"version"}
    assert names == OURS.keys() == BY_NAME.keys()
    versions = {key.removeprefix("version|") for key in peers.kept() if key.startswith("version|")}
    assert versions == {"torch", "pytorch_optimizer", "heavyball"}


@pytest.mark.parametrize("name", OURS)
def test_a_record_goes_somewhere(name):
    for key, path in peers.path_of(BY_NAME[name]).items():
        assert np.abs(path[-1] - peers.START[key]).max() > 5 * LR * 0.2
