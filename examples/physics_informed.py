"""A physics-informed network solves Burgers' equation: Adam first, then L-BFGS.

Shows `minimize`, which runs L-BFGS with a line search as one compiled program and says why it stopped. The equation
u_t + u u_x = nu u_xx has a wave that travels, u = (1 - tanh((x - t / 2) / (4 nu))) / 2, to compare with.
Raissi, Perdikaris and Karniadakis 2019, arXiv:1711.10561.
"""

import jax
import jax.numpy as jnp

import gradx
from gradx import minimize

NU = 0.05


def exact(t, x):
    return (1 - jnp.tanh((x - t / 2) / (4 * NU))) / 2


def init_params(key, sizes=(2, 20, 20, 20, 1)):
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes, sizes[1:], strict=False)
    return [(jax.random.normal(k, (n, m)) * jnp.sqrt(2 / (n + m)), jnp.zeros(m)) for k, n, m in pairs]


def u(params, t, x):
    """Return the network's value at one time and place."""
    hidden = jnp.stack([t, x])
    for w, b in params[:-1]:
        hidden = jnp.tanh(hidden @ w + b)
    w, b = params[-1]
    return (hidden @ w + b)[0]


def residual(params, t, x):
    """Return by how much the equation is missed."""
    value, (u_t, u_x) = jax.value_and_grad(u, argnums=(1, 2))(params, t, x)
    u_xx = jax.grad(jax.grad(u, argnums=2), argnums=2)(params, t, x)
    return u_t + value * u_x - NU * u_xx


def everywhere(f, params, t, x):
    return jax.vmap(f, (None, 0, 0))(params, t, x)


def main(steps: int = 1500, lbfgs_steps: int = 1000, points: int = 500, rate: float = 3e-3) -> list[float]:
    """Train, and return the loss of every step of both."""
    times, places = jax.random.split(jax.random.key(1))
    t, x = jax.random.uniform(times, (points,)), jax.random.uniform(places, (points,), minval=-1.0)
    # Where the solution is given: at time 0, and at both ends.
    line = jnp.linspace(0.0, 1.0, points // 5)
    t_given = jnp.concatenate([0 * line, line, line])
    x_given = jnp.concatenate([2 * line - 1, 0 * line - 1, 0 * line + 1])

    def loss_of(params):
        inside = gradx.losses.squared_error(everywhere(residual, params, t, x))
        given = gradx.losses.squared_error(everywhere(u, params, t_given, x_given), exact(t_given, x_given))
        return inside.mean() + given.mean()

    grid = jnp.meshgrid(jnp.linspace(0, 1, 51), jnp.linspace(-1, 1, 101))
    t_grid, x_grid = (axis.ravel() for axis in grid)

    def error(params):
        wrong = everywhere(u, params, t_grid, x_grid) - exact(t_grid, x_grid)
        return jnp.linalg.norm(wrong) / jnp.linalg.norm(exact(t_grid, x_grid))

    params = init_params(jax.random.key(0))
    tx = gradx.adam(gradx.cosine_decay_schedule(rate, steps))

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            loss, grads = jax.value_and_grad(loss_of)(params)
            updates, state = tx.update(grads, state, params)
            return (gradx.apply_updates(params, updates), state), loss

        (params, _), losses = jax.lax.scan(step, (params, tx.init(params)), length=steps)
        return params, losses

    params, losses = train(params)
    print(f"Adam,   {steps:4} steps: loss {losses[-1]:.1e}, relative error {error(params):.1e}")
    result = minimize(loss_of, params, gradx.lbfgs(), max_steps=lbfgs_steps, tol=0.0)
    print(f"L-BFGS, {result.steps:4} steps: loss {result.value:.1e}, relative error {error(result.params):.1e}")
    print(f"L-BFGS stopped: {result.message}")
    return [*losses.tolist(), *result.history.values[1 : result.steps + 1].tolist()]


if __name__ == "__main__":
    main()
