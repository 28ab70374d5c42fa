"""Matrices sharded over a mesh with explicit axes, in a process of its own: it needs several devices."""

import subprocess
import sys

PREAMBLE = """
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

jax.config.update("jax_num_cpu_devices", 4)
from gradx import linalg

COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter", "collective-permute")

def collectives(compiled):
    text = compiled.as_text()
    counts = {name: text.count(f" {name}(") + text.count(f" {name}-start(") for name in COLLECTIVES}
    return {name: count for name, count in counts.items() if count}

def mesh_of(kind):
    return jax.make_mesh((2, 2), ("x", "y"), axis_types=(kind, kind))

def place(mesh, spec, x):
    return jax.device_put(x, NamedSharding(mesh, spec))

explicit = mesh_of(AxisType.Explicit)
rng = np.random.default_rng(0)
"""


def run(body):
    done = subprocess.run([sys.executable, "-c", PREAMBLE + body], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def test_newton_schulz_gathers_once():
    run("""
x = rng.normal(size=(4, 16, 8)).astype(np.float32)
jax.set_mesh(explicit)

def check(name, spec, gathers):
    f = lambda x: linalg.orthogonalize(x, name)
    sharded = place(explicit, spec, x)
    compiled = jax.jit(f).lower(sharded).compile()
    assert collectives(compiled) == ({"all-gather": gathers} if gathers else {}), collectives(compiled)
    got = compiled(sharded)
    assert jax.typeof(got).sharding.spec == jax.typeof(sharded).sharding.spec, jax.typeof(got)
    assert np.abs(np.asarray(got) - plain[name]).max() < 1e-4
    return f, sharded

plain = {name: np.asarray(linalg.orthogonalize(x, name)) for name in linalg.COEFFICIENTS}
f, sharded = check("quintic", P(None, "x", "y"), 2)
check("polar_express", P(None, "x", "y"), 2)
check("quintic", P(None, "x", None), 1)
check("quintic", P("x", None, "y"), 1)
check("quintic", P("x", None, None), 0)
assert np.abs(np.asarray(f(sharded)) - plain["quintic"]).max() < 1e-4  # without jit
gradient = jax.jit(jax.grad(lambda x: jnp.sum(f(x) ** 3)))(sharded)
assert jax.typeof(gradient).sharding.spec == jax.typeof(sharded).sharding.spec
jax.set_mesh(jax.make_mesh((1, 1), ("x", "y")))
wanted = jax.grad(lambda x: jnp.sum(linalg.orthogonalize(x) ** 3))(jnp.asarray(x))
assert np.abs(np.asarray(gradient) - np.asarray(wanted)).max() < 1e-3
""")


def test_left_to_the_compiler_there_are_many_collectives():
    """What gathering once saves: under automatic axes, where the sharding is not known while tracing."""
    run("""
automatic = mesh_of(AxisType.Auto)
x = rng.normal(size=(4, 16, 8)).astype(np.float32)
sharded = place(automatic, P(None, "x", "y"), x)
compiled = jax.jit(linalg.orthogonalize).lower(sharded).compile()
assert sum(collectives(compiled).values()) > 10, collectives(compiled)
assert np.abs(np.asarray(compiled(sharded)) - linalg.orthogonalize(x)).max() < 1e-4
""")


def test_the_other_functions_take_sharded_matrices():
    run("""
A = rng.uniform(size=(8, 4)).astype(np.float32)
b = rng.normal(size=8).astype(np.float32)
S = (A @ A.T + np.eye(8)).astype(np.float32)
start = np.ones(8, np.float32)
calls = {
    "power": (lambda S, v: linalg.power_iteration(S, v0=v)[0], (S, start), (P("x", "y"), P("x"))),
    "newton": (lambda S: linalg.matrix_inverse_pth_root(S, 2)[0], (S,), (P("x", "y"),)),
    "eigh": (lambda S: linalg.matrix_inverse_pth_root_eigh(S, 2)[0], (S,), (P("x", "y"),)),
    "nnls": (lambda A, b: linalg.nnls(A, b, 200), (A, b), (P("x", "y"), P("x"))),
}
plain = {name: np.asarray(f(*xs)) for name, (f, xs, _) in calls.items()}
jax.set_mesh(explicit)
for name, (f, xs, specs) in calls.items():
    got = jax.jit(f)(*(place(explicit, spec, x) for spec, x in zip(specs, xs)))
    assert np.abs(np.asarray(got) - plain[name]).max() < 1e-4, name
    if name in ("newton", "eigh"):
        assert jax.typeof(got).sharding.spec == P("x", "y"), jax.typeof(got)
""")
