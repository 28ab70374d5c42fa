"""L-BFGS with its line search, as in Optax's own example."""

import jax
import jax.numpy as jnp
import optax


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def main():
    solver = optax.lbfgs()
    params = jnp.array([-1.2, 1.0, 0.8])
    state = solver.init(params)
    value_and_grad = optax.value_and_grad_from_state(rosenbrock)
    values = []
    for _ in range(60):
        value, grad = value_and_grad(params, state=state)
        updates, state = solver.update(grad, state, params, value=value, grad=grad, value_fn=rosenbrock)
        params = optax.apply_updates(params, updates)
        values.append(float(value))
    norm = optax.tree_utils.tree_norm(jax.grad(rosenbrock)(params))
    return [values[0], float(rosenbrock(params) < 1e-8), float(norm < 1e-2)]
