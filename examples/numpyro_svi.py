"""Bayesian logistic regression by variational inference, in NumPyro.

Shows a transformation of gradx as NumPyro's optimizer, `optax_to_numpyro`: Adam, clipped, its rate falling, on the
noisy gradient of the evidence lower bound. The data are 569 tumours, of which scikit-learn holds thirty measurements.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import SVI, Predictive, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from numpyro.optim import optax_to_numpyro
from sklearn.datasets import load_breast_cancer

import gradx


def model(x, is_benign=None):
    """Weights of a common, unknown size; the logit is linear."""
    size = numpyro.sample("size", dist.HalfNormal(1.0))
    weight = numpyro.sample("weight", dist.Normal(jnp.zeros(x.shape[1]), size).to_event(1))
    offset = numpyro.sample("offset", dist.Normal(0.0, 3.0))
    numpyro.sample("is_benign", dist.Bernoulli(logits=x @ weight + offset), obs=is_benign)


def main(steps: int = 2000, rate: float = 0.05) -> list[float]:
    """Fit the posterior, and return the loss of every step: minus the evidence lower bound, in nats."""
    x, is_benign = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(is_benign))
    x = ((x - x.mean(axis=0)) / x.std(axis=0))[order].astype(np.float32)
    is_benign = is_benign[order].astype(np.float32)
    (x, x_test), (y, y_test) = (x[:400], x[400:]), (is_benign[:400], is_benign[400:])

    tx = gradx.chain(gradx.clip(10.0), gradx.adam(gradx.exponential_decay(rate, steps // 4, 0.5)))
    guide = AutoNormal(model)
    svi = SVI(model, guide, optax_to_numpyro(tx), Trace_ELBO(num_particles=4))
    result = svi.run(jax.random.key(0), steps, x, y, progress_bar=False)
    for step in range(0, steps, max(1, steps // 5)):
        print(f"step {step:4}   minus the bound {result.losses[step]:.1f}")

    predictive = Predictive(model, guide=guide, params=result.params, num_samples=200)
    share = predictive(jax.random.key(1), x_test)["is_benign"].mean(axis=0)
    print(f"step {steps:4}   minus the bound {result.losses[-1]:.1f}   ", end="")
    print(f"test accuracy {np.mean((share > 0.5) == y_test):.1%}")
    is_sure = np.abs(share - 0.5) > 0.45
    right = np.mean(((share > 0.5) == y_test)[is_sure])
    print(f"sure of {is_sure.mean():.0%} of the tumours, right on {right:.1%} of those")
    return result.losses.tolist()


if __name__ == "__main__":
    main()
