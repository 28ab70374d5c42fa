"""Every method of matrices, with several matrices of a size on a mesh: few, as many as devices, stacked layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradx

RATE = 0.01
METHODS = {
    **{
        name: getattr(gradx, name)(RATE)
        for name in (
            "adamuon", "dion", "dion2", "kl_shampoo", "kl_soap", "muon", "normuon", "polargrad", "scion", "shampoo",
            "soap", "soap_muon", "apollo",
        )
    },
    **{f"kron {geometry}": gradx.kron(RATE, geometry=geometry) for geometry in ("triangular", "dense")},
    "galore": gradx.galore(RATE, rank=2),
}  # fmt: skip
ROUNDING = 2e-4
"""Of the rate: decompositions of squares that are far from singular, in float32."""
WHERE = {f"few_{i}/wq": ((8, 8), P(None, "y")) for i in range(3)}
WHERE |= {f"many_{i}/wq": ((4, 4), P()) for i in range(8)}
WHERE |= {"layers/wq": ((3, 6, 6), P(None, None, "y")), "layers/bias": ((3, 6), P())}
"""Shapes and shardings."""
KINDS = [(AxisType.Explicit, name) for name in METHODS] + [
    pytest.param(AxisType.Auto, name, marks=() if name in ("muon", "soap", "kron triangular") else pytest.mark.slow)
    for name in METHODS
]


def draw(step, mesh=None):
    """Return a tree of `WHERE` whose matrices are far from singular."""
    rng, drawn = np.random.default_rng(step), {}
    for name, (shape, spec) in WHERE.items():
        x = 0.3 * rng.normal(size=shape) + np.eye(*shape[-2:])
        part, leaf = name.split("/")
        x = jnp.asarray(x, jnp.float32) if mesh is None else jax.device_put(np.float32(x), NamedSharding(mesh, spec))
        drawn.setdefault(part, {})[leaf] = x
    return drawn


def trained(tx, mesh=None):
    """Return the updates of three steps."""
    params, found = draw(0, mesh), []
    state, step = tx.init(params), jax.jit(tx.update)
    for i in range(1, 4):
        updates, state = step(draw(i, mesh), state, params)
        found.append({name: np.asarray(updates[part][leaf]) for name in WHERE for part, leaf in [name.split("/")]})
    return found


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_as_on_one_device(kind, name):
    tx, mesh = METHODS[name], jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind, kind))
    with jax.set_mesh(mesh):
        found = trained(tx, mesh)
    for updates, expected in zip(found, trained(tx), strict=True):
        for leaf, x in updates.items():
            np.testing.assert_allclose(x, expected[leaf], atol=ROUNDING * RATE, rtol=ROUNDING, err_msg=leaf)
