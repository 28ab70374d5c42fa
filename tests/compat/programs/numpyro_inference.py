"""NumPyro: variational inference, whose optimizer is made of a transformation."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import optax
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from numpyro.optim import optax_to_numpyro


def model(x, y):
    weight = numpyro.sample("weight", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    noise = numpyro.sample("noise", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(x @ weight, noise), obs=y)


def main():
    x = jax.random.normal(jax.random.key(0), (40, 2))
    y = x @ jnp.array([1.0, -2.0]) + 0.1 * jax.random.normal(jax.random.key(1), (40,))
    tx = optax.chain(optax.clip(10.0), optax.adam(optax.exponential_decay(5e-2, 20, 0.5)))
    svi = SVI(model, AutoNormal(model), optax_to_numpyro(tx), Trace_ELBO())
    result = svi.run(jax.random.key(2), 40, x, y, progress_bar=False)
    return [*result.losses.tolist(), *result.params["weight_auto_loc"].tolist()]
