"""Float64 NumPy references of the optimizers with Kronecker factors, from the papers, and the rows that compare them.

Each reference is of one matrix; arrays of two axes are one, the attention heads one for each, blocks one for each.
"""

import numpy as np

import gradx
from tests.oracles.matrices import GENTLE, newton_schulz
from tests.oracles.optimizers import BLOCK_RATE, MASK, adam_direction
from tests.oracles.optimizers_trajectory import Leafwise, Row

POLAR_EXPRESS = (
    (8.1566, -22.4833, 15.8788),
    (4.0429, -2.8089, 0.5000),
    (3.8917, -2.7725, 0.5061),
    (3.2858, -2.3681, 0.4645),
    (2.3465, -1.7098, 0.4232),
)
"""Amsel et al. 2025, arXiv:2505.16932; the norm is taken 1.02 times."""


def inverse_root(a, p, ridge):
    """Return (A + ridge · lambda_max · I)^(-1/p)."""
    values, vectors = np.linalg.eigh(a)
    return (vectors * (values + ridge * values[-1]) ** (-1 / p)) @ vectors.T


def shampoo_matrix(t, g, memory, *, b1, b2, ridge, root, update_interval, sides, is_sum=False):
    """Gupta et al. 2018, Algorithm 1, on the debiased mean, with means for sums; None before the first roots."""
    m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
    for side, moment in (("L", g @ g.T), ("R", g.T @ g)):
        old = memory.get(side, 0.0)
        memory[side] = old + moment if is_sum else b2 * old + (1 - b2) * moment
        if t % update_interval == 0:
            memory["root" + side] = inverse_root(memory[side] / (1 if is_sum else 1 - b2**t), root, ridge)
    if t < update_interval:
        return None
    u = m / (1 - b1**t)
    u = memory["rootL"] @ u if "L" in sides else u
    return u @ memory["rootR"] if "R" in sides else u


def shampoo_direction(t, g, p, memory, *, b1, b2, eps, graft="adam", max_size=99, **hyper):
    """Shi et al. 2023: blocks, and for each matrix the length of another's update."""
    own = memory.setdefault("adam", {})
    adam = adam_direction(t, g, p, own, b1=b1, b2=b2, eps=eps)
    if np.ndim(g) != 2:
        return adam
    mean = own["m"] / (1 - b1**t)
    grafted = {"adam": adam, "rmsprop": g / (np.sqrt(own["v"]) + eps), "sgd": mean, None: mean}[graft]
    u, rows, columns = np.array(grafted), *(largest_part(n, max_size) for n in g.shape)
    for i in range(0, g.shape[0], rows):
        for j in range(0, g.shape[1], columns):
            block = np.s_[i : i + rows, j : j + columns]
            found = shampoo_matrix(t, g[block], memory.setdefault((i, j), {}), b1=b1, b2=b2, **hyper)
            u[block] = grafted[block] if found is None else found
    return u if graft is None else u * np.linalg.norm(grafted) / np.linalg.norm(u)


def largest_part(size, bound):
    """Return the largest divisor up to a bound."""
    return max(d for d in range(1, min(size, bound) + 1) if size % d == 0)


def eigenbasis(a):
    """Return the eigenvectors by falling eigenvalue."""
    return np.linalg.eigh(a)[1][:, ::-1]


def next_basis(a, q):
    """Vyas et al. 2024, Algorithm 4, with the columns sorted by qᵀ a q first; and their order."""
    order = np.argsort(-np.diag(q.T @ a @ q), kind="stable")
    return np.linalg.qr(a @ q[:, order])[0], order


def soap_matrix(t, g, memory, *, b1, b2, eps, update_interval, sides="LR", kl=False):
    """Vyas et al. 2024, Algorithm 3, whose first step only finds the bases; with `kl` Lin et al. 2025, KL-SOAP."""
    if t == 1:
        u, memory["v"] = np.zeros_like(g), np.zeros_like(g)
    else:
        ql, qr, mean = memory["QL"], memory["QR"], late_mean(t, g, memory, b1)
        v = memory["v"] = b2 * memory["v"] + (1 - b2) * (ql.T @ g @ qr) ** 2
        u = ql @ ((ql.T @ mean @ qr) / (np.sqrt(v / (1 - b2 ** (t - 1))) + eps)) @ qr.T
    kl_moments(t, g, memory, b2) if kl else moments(g, memory, b2)
    bases(t, g, memory, update_interval, sides)
    return u


def late_mean(t, g, memory, b1):
    """The debiased mean of the gradients from the second on, t being at least 2."""
    m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
    return m / (1 - b1 ** (t - 1))


def moments(g, memory, b2):
    """The second moments of rows and columns."""
    for side, moment in (("L", g @ g.T), ("R", g.T @ g)):
        memory[side] = b2 * memory.get(side, 0.0) + (1 - b2) * moment


def bases(t, g, memory, update_interval, sides):
    """The bases of both sides; a side that is not turned has the identity."""
    for side, axis in (("L", 0), ("R", 1)):
        if t == 1:
            memory["Q" + side] = eigenbasis(memory[side]) if side in sides else np.eye(g.shape[axis])
        elif side in sides and (t - 1) % update_interval == 0:
            memory["Q" + side], order = next_basis(memory[side], memory["Q" + side])
            if "v" in memory:
                memory["v"] = np.take(memory["v"], order, axis)
            if "dL" in memory:
                memory["d" + side] = memory["d" + side][order]


def kl_moments(t, g, memory, b2):
    """Lin et al. 2025: each second moment with the inverse of the other; the eigenvalues in the bases of their day.

    They begin at the root mean square of the first gradient.
    """
    m, n = g.shape
    if t == 1:
        start = np.sqrt(np.mean(g**2))
        memory |= {"dL": np.full(m, start), "dR": np.full(n, start)}
        memory |= {"L": (1 - b2) * g @ g.T / (n * start), "R": (1 - b2) * g.T @ g / (m * start)}
        return
    ql, qr = memory["QL"], memory["QR"]
    of_rows = g @ qr @ np.diag(1 / memory["dR"]) @ qr.T @ g.T / n
    of_columns = g.T @ ql @ np.diag(1 / memory["dL"]) @ ql.T @ g / m
    for side, moment, q in (("L", of_rows, ql), ("R", of_columns, qr)):
        memory[side] = b2 * memory[side] + (1 - b2) * moment
        memory["d" + side] = b2 * memory["d" + side] + (1 - b2) * np.diag(q.T @ moment @ q)


def kl_shampoo_matrix(t, g, memory, *, b1, b2, eps, update_interval, sides="LR"):
    """Lin et al. 2025, KL-Shampoo: S_a^(-1/2) m S_b^(-1/2) by the eigenvalues and bases so far."""
    u = np.zeros_like(g)
    if t > 1:
        ql, qr = memory["QL"], memory["QR"]
        root = np.sqrt(np.outer(memory["dL"], memory["dR"]))
        u = ql @ ((ql.T @ late_mean(t, g, memory, b1) @ qr) / (root + eps)) @ qr.T
    kl_moments(t, g, memory, b2)
    bases(t, g, memory, update_interval, sides)
    return u


def soap_muon_matrix(t, g, memory, *, ns_steps, **hyper):
    """Vyas et al. 2025: SOAP's update made orthogonal, of root mean square 1."""
    u = soap_matrix(t, g, memory, **hyper)
    o = newton_schulz(u, 1.02 * np.linalg.norm(u) or 1.0, POLAR_EXPRESS, ns_steps)
    return o * np.sqrt(u.size) / (np.linalg.norm(o) or 1.0)


def largest_eigenvalue(a):
    """From below: ‖a x‖ for x along a times its longest column."""
    x = a @ a[:, np.argmax(np.sum(a**2, axis=0))]
    return np.linalg.norm(a @ x / np.linalg.norm(x))


def kron_dense(t, g, p, memory, *, b1, preconditioner_lr, max_rms):
    """Li 2024, arXiv:2402.11858, without inverses: P ← (I - s E) P (I - s E), E = H Hᵀ / n - I, on both sides."""
    m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
    m = m / (1 - b1**t)
    if t == 1:
        size = np.sqrt(np.mean(m**2)) ** (-0.5 if np.ndim(g) == 2 else -1)
        memory["P"] = [size * np.eye(n) for n in g.shape] if np.ndim(g) == 2 else size * np.ones(np.shape(g))
    if np.ndim(g) == 2:
        left, right = memory["P"]
        h = left @ m @ right
        new = []
        for factor, own in ((left, h @ h.T / g.shape[1]), (right, h.T @ h / g.shape[0])):
            one = np.eye(len(own))
            change = one - preconditioner_lr / (2 * largest_eigenvalue(own + one)) * (own - one)
            new.append(change @ factor @ change)
        ratio = np.sqrt(np.max(np.abs(new[1])) / np.max(np.abs(new[0])))
        left, right = memory["P"] = [ratio * new[0], new[1] / ratio]
        u = left @ m @ right
    else:
        own = (memory["P"] * m) ** 2
        change = 1 - preconditioner_lr / (2 * np.max(own + 1)) * (own - 1)
        memory["P"] = change * memory["P"] * change
        u = memory["P"] * m
    return u * min(1.0, max_rms / np.sqrt(np.mean(u**2)))


def on_each_matrix(of_matrix):
    """Return a direction: of matrices, of heads one by one, and Adam's for other arrays."""

    def direction(t, g, p, memory, *, heads=False, ns_steps=None, update_interval=1, **hyper):
        adam = {key: hyper[key] for key in ("b1", "b2", "eps")}
        own = {} if ns_steps is None else {"ns_steps": ns_steps}
        if np.ndim(g) == 2:
            return of_matrix(t, g, memory, update_interval=update_interval, **own, **hyper)
        if np.ndim(g) == 3 and heads:
            each = [memory.setdefault(i, {}) for i in range(len(g))]
            own["update_interval"] = update_interval
            return np.stack([of_matrix(t, x, y, **own, **hyper) for x, y in zip(g, each, strict=True)])
        return adam_direction(t, g, p, memory, **adam)

    return direction


def stepped(direction):
    """Return a leaf that descends with decoupled decay."""

    def leaf(t, g, p, memory, *, learning_rate, weight_decay=0.0, mask=True, **rest):
        decay = weight_decay * p if mask else 0.0
        return -learning_rate * (direction(t, g, p, memory, **rest) + decay)

    return leaf


def recipe(title, make, direction, fixed=(), corner=(), **hyper):
    """Return the row of a recipe; `fixed` is what gradx alone needs to know, `corner` what the reference alone does."""
    return Row(
        title,
        ours=lambda: make(**hyper, **dict(fixed)),
        reference=lambda **changes: Leafwise(stepped(direction), **(hyper | dict(corner) | changes)),
        hyper={name: x for name, x in hyper.items() if name != "mask"},
    )


def block(title, make, direction, fixed=(), corner=(), rate=BLOCK_RATE, **hyper):
    """Return the row of a building block before plain descent."""
    own = {"learning_rate": rate, **hyper, **dict(corner)}
    return Row(
        title,
        ours=lambda: gradx.chain(make(**hyper, **dict(fixed)), gradx.sgd(rate)),
        reference=lambda **changes: Leafwise(stepped(direction), **(own | changes)),
        hyper=hyper,
    )


def heads_too(params):
    """The last two axes of these are matrices."""
    return {name: name in ("heads", "matrix") for name in params}


SOAP, KL_SOAP = on_each_matrix(soap_matrix), on_each_matrix(lambda *a, **k: soap_matrix(*a, kl=True, **k))
KL_SHAMPOO, SOAP_MUON = on_each_matrix(kl_shampoo_matrix), on_each_matrix(soap_muon_matrix)
TWO_SIDES = {"root": 4, "sides": "LR"}
DECAY = {"learning_rate": 0.05, "weight_decay": 0.2, "mask": MASK}
HEADS = {"weight_dimension_numbers": heads_too}

TRAJECTORIES: list[Row] = [
    recipe(
        "shampoo",
        gradx.shampoo,
        shampoo_direction,
        fixed={"max_size": 3, "update_interval": 3},
        corner={"max_size": 3, "update_interval": 3, **TWO_SIDES},
        b1=0.8, b2=0.95, eps=0.1, ridge=0.2, **DECAY,
    ),
    recipe(
        "shampoo, grafted onto RMSProp",
        gradx.shampoo,
        shampoo_direction,
        fixed={"graft": "rmsprop", "update_interval": 4},
        corner={"graft": "rmsprop", "update_interval": 4, **TWO_SIDES},
        learning_rate=0.05, b1=0.8, b2=0.95, eps=0.3, ridge=0.1, weight_decay=0.0,
    ),
    recipe(
        "shampoo, grafted onto SGD",
        gradx.shampoo,
        shampoo_direction,
        fixed={"graft": "sgd", "update_interval": 1, "root": 2},
        corner={"graft": "sgd", "update_interval": 1, "root": 2, "sides": "LR"},
        learning_rate=0.05, b1=0.8, b2=0.95, eps=0.1, ridge=0.3, weight_decay=0.0,
    ),
    block(
        "scale_by_shampoo",
        gradx.scale_by_shampoo,
        shampoo_direction,
        fixed={"graft": None, "update_interval": 1, "one_sided": True, "factors": "sum"},
        corner={"graft": None, "update_interval": 1, "root": 2, "sides": "R", "is_sum": True},
        b1=0.8, b2=0.95, eps=0.1, ridge=0.1,
    ),
    recipe(
        "soap", gradx.soap, SOAP, fixed={"update_interval": 3}, corner={"update_interval": 3},
        b1=0.8, b2=0.9, eps=0.1, **DECAY,
    ),
    block(
        "scale_by_soap, heads", gradx.scale_by_soap, SOAP,
        fixed={"update_interval": 2, **HEADS}, corner={"update_interval": 2, "heads": True},
        b1=0.8, b2=0.9, eps=0.3,
    ),
    block(
        "scale_by_soap, one side", gradx.scale_by_soap, SOAP,
        fixed={"update_interval": 1, "max_size": 3}, corner={"update_interval": 1, "sides": "R"},
        b1=0.8, b2=0.9, eps=0.3,
    ),
    recipe(
        "soap_muon", gradx.soap_muon, SOAP_MUON, fixed={"update_interval": 2, "ns_steps": 3},
        corner={"update_interval": 2, "ns_steps": 3, "sides": "R"},
        learning_rate=GENTLE, b1=0.8, b2=0.9, eps=0.3, weight_decay=0.2, mask=MASK,
    ),
    block(
        "scale_by_soap_muon", gradx.scale_by_soap_muon, SOAP_MUON,
        fixed={"update_interval": 60, "one_sided": False, "ns_steps": 2}, corner={"update_interval": 60, "ns_steps": 2},
        rate=GENTLE, b1=0.8, b2=0.9, eps=0.3,
    ),
    recipe(
        "kl_shampoo", gradx.kl_shampoo, KL_SHAMPOO, fixed={"update_interval": 3}, corner={"update_interval": 3},
        b1=0.8, b2=0.9, eps=0.3, **DECAY,
    ),
    block(
        "scale_by_kl_shampoo", gradx.scale_by_kl_shampoo, KL_SHAMPOO,
        fixed={"update_interval": 2, "max_size": 3}, corner={"update_interval": 2, "sides": "R"},
        b1=0.8, b2=0.9, eps=0.3,
    ),
    recipe(
        "kl_soap", gradx.kl_soap, KL_SOAP, fixed={"update_interval": 3}, corner={"update_interval": 3},
        b1=0.8, b2=0.9, eps=0.3, **DECAY,
    ),
    block(
        "scale_by_kl_soap", gradx.scale_by_kl_soap, KL_SOAP,
        fixed={"update_interval": 2, **HEADS}, corner={"update_interval": 2, "heads": True},
        b1=0.8, b2=0.9, eps=0.3,
    ),
    recipe(
        "kron", gradx.kron, kron_dense, fixed={"geometry": "dense", "damping": 0.0},
        b1=0.8, preconditioner_lr=0.2, max_rms=0.9, **DECAY,
    ),
    block(
        "scale_by_kron", gradx.scale_by_kron, kron_dense, fixed={"geometry": "dense", "damping": 0.0},
        b1=0.5, preconditioner_lr=0.4, max_rms=1.5,
    ),
]  # fmt: skip
