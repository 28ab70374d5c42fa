"""The program on the page of each optimizer: the same for all, with the best of a few learning rates."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from docs.generator import paths
from docs.generator.kept import kept
from docs.generator.names import Name

EXTRAS = ("", "value=loss", "obj_fn=loss_of", "value=loss, grad=grads, value_fn=loss_of")
"""What an optimizer may ask for beside the gradient, as its example hands it over."""
EXAMPLE = """\
import jax
import jax.numpy as jnp

import gradx

x = jax.random.normal(jax.random.key(0), (64, 8))
y = jnp.tanh(x @ jax.random.normal(jax.random.key(1), (8, 4)))
kernels = [0.3 * jax.random.normal(jax.random.key(i), shape) for i, shape in ((2, (8, 16)), (3, (16, 4)))]
params = {{"hidden": {{"kernel": kernels[0]}}, "head": {{"kernel": kernels[1]}}}}
tx = {call}


def loss_of(params, x=x, y=y):
    return jnp.mean((jnp.tanh(x @ params["hidden"]["kernel"]) @ params["head"]["kernel"] - y) ** 2)


@jax.jit
def step(params, state):
    loss, grads = jax.value_and_grad(loss_of)(params)
{more}    updates, state = tx.update(grads, state, params{extras})
    return gradx.apply_updates(params, updates), state, loss


state = tx.init(params)
for i in range(101):
    params, state, loss = step(params, state)
    if i % 25 == 0:
        print(f"step {{i:3}}   loss {{loss:.4f}}")
"""
EACH_EXAMPLE = """\
    one = lambda a, b: jax.grad(loss_of)(params, a[None], b[None])
    grads = jax.vmap(one)(x, y)  # a gradient for each example
"""


@functools.cache
def program(name: Name) -> str:
    """Return the program of an optimizer's page, with the best of a few learning rates."""
    found = kept("example", f"{name.short}|{EXAMPLE}|{paths.RATES}", lambda: _best(name))
    arguments = ", ".join([f"{found['rate']:g}", *_more_arguments(name)])
    call = f"gradx.{name.short}({arguments})"
    more = EACH_EXAMPLE if name.short in paths.EXAMPLES else ""
    return EXAMPLE.format(call=call, extras=f", {found['extras']}" if found["extras"] else "", more=more)


def _more_arguments(name: Name) -> list[str]:
    return [f"{key}={value!r}" for key, value in paths.ARGUMENTS.get(name.short, {}).items()]


def _best(name: Name) -> dict[str, Any]:
    """Return the rate that ends lowest, and what the optimizer asks for."""
    last = None
    for extras in EXTRAS:
        try:
            losses = jax.jit(jax.vmap(functools.partial(_trained, name, extras)))(jnp.asarray(paths.RATES))
        except (TypeError, ValueError) as error:
            last = error
            continue
        ends = np.asarray(losses, np.float64)
        best = int(np.argmin(np.where(np.isfinite(ends), ends, np.inf)))
        return {"rate": paths.RATES[best], "extras": extras}
    raise RuntimeError(f"{name.dotted} asks for what no example hands over: {last}")


def _trained(name: Name, extras: str, rate: Any) -> Any:
    more = EACH_EXAMPLE if name.short in paths.EXAMPLES else ""
    text = EXAMPLE.format(call="_made", extras=f", {extras}" if extras else "", more=more)
    before, _, _ = text.partition("state = tx.init(params)\n")
    space: dict[str, Any] = {"_made": paths.made(name, rate)}
    exec(before.replace("@jax.jit\n", ""), space)
    step = space["step"]

    def body(carry: tuple, _: None) -> tuple:
        params, state, loss = step(*carry)
        return (params, state), loss

    _, losses = jax.lax.scan(body, (space["params"], space["tx"].init(space["params"])), None, length=101)
    return jnp.mean(losses[-10:])
