"""Float64 NumPy references of optimizers of matrices, from the papers, and the rows that compare them."""

import numpy as np

import gradx
from tests.oracles.optimizers import BLOCK_RATE, FALLING_RATE, MASK, adamw, sgd
from tests.oracles.optimizers_trajectory import Chain, Leafwise, Row, Whole

STANDARD = (3.4445, -4.7750, 2.0315)
GENTLE = 0.02
"""A learning rate that comes near no minimum: there directions turn round by rounding alone."""
KERNELS = {"heads": (1, 2), "kernel": ((0, 1, 2), 3), "matrix": (0, 1)}
"""Rows and columns of each array: attention heads one by one, a convolution's kernel as one matrix."""


def newton_schulz(g, norm, ns_coeffs, ns_steps):
    """Jordan et al. 2024, newtonschulz5, the shorter side first, in float64."""
    x = (g.T if g.shape[0] > g.shape[1] else g) / norm
    for step in range(ns_steps):
        a, b, c = ns_coeffs[min(step, len(ns_coeffs) - 1)] if np.ndim(ns_coeffs) == 2 else ns_coeffs
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def matrices_of(name, g, kernels):
    """Return the array as (b, m, n), and the way back, for an entry of `KERNELS`."""
    rows, columns = (x if isinstance(x, tuple) else (x,) for x in kernels[name])
    first = [i for i in range(g.ndim) if i not in (*rows, *columns)]
    turned = np.transpose(g, (*first, *rows, *columns))
    flat = turned.reshape(-1, np.prod([g.shape[i] for i in rows]), np.prod([g.shape[i] for i in columns]))
    return flat, lambda y: np.transpose(y.reshape(turned.shape), np.argsort((*first, *rows, *columns)))


def frobenius(x, eps):
    """Return the root of the sum of squares, eps added."""
    return np.sqrt(np.sum(x**2)) + eps


def spectral(x, eps):
    """Return the largest singular value, eps added."""
    return np.linalg.norm(x, 2) + eps


def schatten(x, eps):
    """Return the norm of order 4 of the singular values; its square is at least eps."""
    return np.sqrt(max(np.sqrt(np.sum(np.linalg.svd(x, compute_uv=False) ** 4)), eps))


class Muon:
    """Jordan et al. 2024 with Adam's debiasing, AdamW for what has no entry in `kernels`."""

    def __init__(self, kernels, learning_rate, adam_learning_rate=None, adam=(), **hyper):
        self.kernels, self.hyper, self.t, self.memory = kernels, hyper, 0, {}
        rate = learning_rate if adam_learning_rate is None else adam_learning_rate
        self.rate, self.rest = (
            learning_rate,
            Leafwise(adamw, learning_rate=rate, **({"weight_decay": 0.0} | dict(adam))),
        )

    def __call__(self, grads, params):
        rate = self.rate(self.t) if callable(self.rate) else self.rate
        self.t += 1
        rest = self.rest({k: g for k, g in grads.items() if k not in self.kernels}, params)
        return {
            k: -rate * self.direction(k, g, params[k], **self.hyper) if k in self.kernels else rest[k]
            for k, g in grads.items()
        }

    def direction(
        self,
        name,
        g,
        p,
        *,
        ns_coeffs=STANDARD,
        ns_steps=5,
        beta=0.95,
        eps=1e-8,
        weight_decay=0.0,
        weight_decay_mask=None,
        nesterov=True,
        adaptive=False,
        consistent_rms=None,
        norm=frobenius,
        shaped=True,
    ):
        """Return the step of one array, uphill."""
        m = self.memory[name] = beta * self.memory.get(name, 0.0) + (1 - beta) * g
        ahead = m / (1 - beta**self.t)
        if nesterov:
            ahead = beta * m / (1 - beta ** (self.t + 1)) + (1 - beta) * g / (1 - beta**self.t)
        flat, back = matrices_of(name, ahead, self.kernels)
        o = np.stack([newton_schulz(x, norm(x, eps), ns_coeffs, ns_steps) for x in flat])
        o = np.sum(flat * o) * o if adaptive else o
        inputs, outputs = flat.shape[1:]
        factor = (
            np.sqrt(max(1, outputs / inputs))
            if consistent_rms is None
            else consistent_rms * np.sqrt(max(inputs, outputs))
        )
        decays = weight_decay_mask is None or weight_decay_mask[name]
        return back((factor if shaped else 1.0) * o) + (weight_decay * p if decays else 0.0)


def muon(title, kernels=None, corner=(), **hyper):
    """Return the row of muon; `corner` is what the reference alone needs to know."""
    ours = {"adam_b1": "b1", "adam_b2": "b2", "adam_weight_decay": "weight_decay", "adam_eps_root": "eps_root"}

    def arguments(library, numbers):
        asked = kernels is None and library is not gradx  # Optax takes what has two axes
        known = {name: numbers(*KERNELS[name]) if name in (kernels or ("matrix",)) else None for name in MASK}
        rate = (
            {"learning_rate": hyper["learning_rate"].ours(library)} if hasattr(hyper["learning_rate"], "ours") else {}
        )
        return hyper | rate | ({} if asked else {"muon_weight_dimension_numbers": known})

    def reference(**changes):
        given = hyper | changes
        rate = given["learning_rate"]
        given["learning_rate"] = rate.value if hasattr(rate, "value") else rate
        adam = {short: given.pop(name) for name, short in ours.items() if name in given}
        adam |= {"eps": given.get("eps", 1e-8), "nesterov": given.get("nesterov", True)}
        given.pop("preconditioning", None)
        chosen = {name: KERNELS[name] for name in (kernels or ("matrix",))}
        return Muon(chosen, adam=adam, **given, **dict(corner))

    def peer(optax):
        from optax import contrib

        return contrib.muon(**arguments(optax, contrib.MuonDimensionNumbers))

    return Row(title, lambda: gradx.muon(**arguments(gradx, gradx.MuonDimensionNumbers)), reference, peer, hyper=hyper)


class TorchsMuon:
    """torch's Muon for matrices and its AdamW for the rest, with products in float32, where torch takes bfloat16."""

    def __init__(self, torch, params, *, learning_rate, beta, weight_decay, adam_b1, adam_b2, adam_weight_decay):
        self.torch = torch
        matrices, rest = ([p for p in params if (p.ndim == 2) == wanted] for wanted in (True, False))
        adam = {"betas": (adam_b1, adam_b2), "weight_decay": adam_weight_decay}
        hyper = {"momentum": beta, "weight_decay": weight_decay, "nesterov": False, "eps": 1e-8}
        self.parts = torch.optim.Muon(matrices, learning_rate, **hyper), torch.optim.AdamW(rest, learning_rate, **adam)

    def step(self):
        narrow, self.torch.Tensor.bfloat16 = self.torch.Tensor.bfloat16, lambda x: x.clone()
        for part in self.parts:
            part.step()
        self.torch.Tensor.bfloat16 = narrow


def torchs_muon():
    """Return the row of Muon on (outputs, inputs), without Nesterov: torch's is that of the mean with its bias."""
    hyper = {"learning_rate": GENTLE, "beta": 0.8, "weight_decay": 0.2} | {
        "adam_b1": 0.8, "adam_b2": 0.95, "adam_weight_decay": 0.2
    }  # fmt: skip
    turned = {name: gradx.MuonDimensionNumbers(1, 0) if name == "matrix" else None for name in MASK}

    def reference(**changes):
        given = hyper | changes
        adam = {short: given.pop(f"adam_{short}") for short in ("b1", "b2", "weight_decay")}
        return Muon({"matrix": (1, 0)}, adam=adam, nesterov=False, **given)

    return Row(
        "muon, PyTorch's",
        ours=lambda: gradx.muon(**hyper, nesterov=False, muon_weight_dimension_numbers=turned),
        reference=reference,
        torch=lambda torch, params: TorchsMuon(torch, params, **hyper),
        hyper=hyper,
    )


def mean_ahead(t, g, p, memory, *, learning_rate, beta):
    """What scale_by_muon makes of arrays that are no matrices: Nesterov's debiased mean."""
    m = memory["m"] = beta * memory.get("m", 0.0) + (1 - beta) * g
    return -learning_rate * (beta * m / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t))


class Directions(Muon):
    """`Muon` without the factor of the shape, and with momentum for what is no matrix."""

    def __init__(self, kernels, beta, **hyper):
        super().__init__(kernels, GENTLE, beta=beta, shaped=False, **hyper)
        self.rest = Leafwise(mean_ahead, learning_rate=GENTLE, beta=beta)


def by_shape(grads, params, *, consistent_rms=None):
    """Jordan et al. 2024, and Liu et al. 2025, eq. 4."""
    scaled = dict(grads)
    for name in KERNELS:
        inputs, outputs = matrices_of(name, grads[name], KERNELS)[0].shape[1:]
        own = max(1, outputs / inputs) ** 0.5
        scaled[name] = grads[name] * (own if consistent_rms is None else consistent_rms * max(inputs, outputs) ** 0.5)
    return scaled


def all_kernels(params):
    """Return the dimension numbers of `KERNELS`, written as users do."""
    return {name: gradx.MuonDimensionNumbers(*KERNELS[name]) if name in KERNELS else None for name in params}


def named(params):
    """Return the matrices by name: the last two axes."""
    return {name: name in ("heads", "matrix") for name in params}


def shaped(title, **hyper):
    """Return a row of scale_by_shape."""
    return Row(
        title,
        ours=lambda: gradx.chain(gradx.scale_by_shape(all_kernels, **hyper), gradx.sgd(BLOCK_RATE)),
        reference=lambda **h: Chain(Whole(by_shape, **(hyper | h)), Leafwise(sgd, learning_rate=BLOCK_RATE)),
        hyper=hyper,
    )


ADAM = {"adam_b1": 0.8, "adam_b2": 0.95, "adam_eps_root": 0.1, "adam_weight_decay": 0.2, "adam_learning_rate": 0.03}

TRAJECTORIES: list[Row] = [
    muon("muon", learning_rate=0.05, beta=0.8, eps=0.3, weight_decay=0.2, **ADAM),
    muon(
        "muon, kernels", KERNELS, learning_rate=0.05, beta=0.8, eps=0.1, ns_steps=3, consistent_rms=0.3, nesterov=False
    ),
    muon(
        "muon, adaptive",
        ["matrix"],
        learning_rate=0.005,
        beta=0.9,
        eps=0.1,
        adaptive=True,
        weight_decay=0.2,
        weight_decay_mask=MASK,
    ),
    muon("muon, spectral", learning_rate=FALLING_RATE, eps=0.1, preconditioning="spectral", corner={"norm": spectral}),
    muon(
        "muon, schatten",
        learning_rate=GENTLE,
        eps=0.3,
        preconditioning="schatten",
        corner={"norm": schatten},
        ns_coeffs=(3.4445, -4.7750, 2.0315),
    ),
    torchs_muon(),
    Row(
        "scale_by_muon",
        ours=lambda: gradx.chain(
            gradx.scale_by_muon(beta=0.8, eps=0.3, weight_dimension_numbers=named), gradx.sgd(GENTLE)
        ),
        reference=lambda beta=0.8, eps=0.3: Directions(
            {"heads": KERNELS["heads"], "matrix": KERNELS["matrix"]}, beta, eps=eps
        ),
        hyper={"beta": 0.8, "eps": 0.3},
    ),
    shaped("scale_by_shape"),
    shaped("scale_by_shape, one root mean square", consistent_rms=0.3),
]
