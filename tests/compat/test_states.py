"""States under the shim: types, paths, shapes and dtypes of Optax, so that what it stored goes on here."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradx.compat import optax as shim

PARAMS = {"bias": jnp.ones(2), "kernel": jnp.ones((3, 2))}
MASK = {"bias": False, "kernel": True}
LABELS = {"bias": "slow", "kernel": "fast"}
TYPED_KEY = ("add_noise", "noisy_sgd")
"""Their keys are kept as plain integers here, which every checkpoint takes."""


EXTRAS = {"reduce_on_plateau": {"value": 1.0}}
GOES_ITS_WAY = {
    "add_noise": "the noise is another draw",
    "noisy_sgd": "the noise is another draw",
    "rprop": "Optax's is a step late",
    "radam": "Optax takes 1 - b2^t in float32, of which the first steps lose two digits",
}


def falling(lib):
    return lib.linear_schedule(0.1, 0.0, 10)


CASES = {
    "sgd": lambda lib: lib.sgd(0.1),
    "sgd, schedule": lambda lib: lib.sgd(falling(lib)),
    "sgd, momentum": lambda lib: lib.sgd(0.1, momentum=0.9),
    "adam": lambda lib: lib.adam(0.1),
    "adam, schedule": lambda lib: lib.adam(falling(lib)),
    "adamw": lambda lib: lib.adamw(0.1),
    "adamw, mask": lambda lib: lib.adamw(0.1, mask=MASK),
    "nadam": lambda lib: lib.nadam(0.1),
    "nadamw": lambda lib: lib.nadamw(0.1),
    "rmsprop": lambda lib: lib.rmsprop(0.1),
    "rmsprop, momentum": lambda lib: lib.rmsprop(falling(lib), momentum=0.9, centered=True),
    "rmsprop, corrected": lambda lib: lib.rmsprop(0.1, bias_correction=True),
    "adagrad": lambda lib: lib.adagrad(0.1),
    "adadelta": lambda lib: lib.adadelta(0.1),
    "trace": lambda lib: lib.trace(0.9),
    "ema": lambda lib: lib.ema(0.9),
    "zero_nans": lambda lib: lib.zero_nans(),
    "centralize": lambda lib: lib.centralize(),
    "identity": lambda lib: lib.identity(),
    "set_to_zero": lambda lib: lib.set_to_zero(),
    "scale": lambda lib: lib.scale(0.1),
    "scale_by_schedule": lambda lib: lib.scale_by_schedule(falling(lib)),
    "scale_by_learning_rate": lambda lib: lib.scale_by_learning_rate(0.1),
    "add_decayed_weights": lambda lib: lib.add_decayed_weights(0.1, MASK),
    "add_noise": lambda lib: lib.add_noise(0.1, 0.5, key=jax.random.key(0)),
    "clip_by_global_norm": lambda lib: lib.clip_by_global_norm(1.0),
    "adaptive_grad_clip": lambda lib: lib.adaptive_grad_clip(1.0),
    "chain": lambda lib: lib.chain(lib.clip(1.0), lib.adamw(falling(lib))),
    "named_chain": lambda lib: lib.named_chain(("step", lib.adam(0.1)), ("scale", lib.scale(1.0))),
    "masked": lambda lib: lib.masked(lib.adam(0.1), MASK),
    "partition": lambda lib: lib.partition({"fast": lib.adam(0.1), "slow": lib.sgd(falling(lib))}, LABELS),
    "freeze": lambda lib: lib.freeze(MASK),
    "selective_transform": lambda lib: lib.selective_transform(lib.adam(0.1), freeze_mask=MASK),
    "inject_hyperparams": lambda lib: lib.inject_hyperparams(lib.adam)(0.1),
    "inject_hyperparams, schedule": lambda lib: lib.inject_hyperparams(lib.sgd)(falling(lib), momentum=0.9),
    "MultiSteps": lambda lib: lib.MultiSteps(lib.adam(0.1), 3),
    "apply_if_finite": lambda lib: lib.apply_if_finite(lib.adam(0.1), 3),
    "conditionally_transform": lambda lib: lib.conditionally_transform(lib.adam(0.1), lambda step: step > 1),
    "conditionally_mask": lambda lib: lib.conditionally_mask(lib.adam(0.1), lambda step: step > 1),
    "flatten": lambda lib: lib.flatten(lib.adam(0.1)),
    "mechanize": lambda lib: lib.contrib.mechanize(lib.sgd(0.1)),
    "schedule_free": lambda lib: lib.contrib.schedule_free(lib.sgd(0.1), 0.1),
    "reduce_on_plateau": lambda lib: lib.contrib.reduce_on_plateau(),
    "lars": lambda lib: lib.lars(0.1),
    "noisy_sgd": lambda lib: lib.noisy_sgd(0.1, key=jax.random.key(0)),
}
BY_RATE = [
    "adabelief", "adafactor", "adamax", "adamaxw", "adan", "amsgrad", "fromage", "lamb", "lion", "novograd",
    "optimistic_gradient_descent", "radam", "sign_sgd", "signum", "yogi",
]  # fmt: skip
CASES |= {name: lambda lib, name=name: getattr(lib, name)(falling(lib)) for name in BY_RATE}
CASES |= {name: lambda lib, name=name: getattr(lib, name)(0.1) for name in ("rprop", "sm3", "optimistic_adam_v2")}
CONTRIB = ["acprop", "ademamix", "adopt", "madgrad", "prodigy", "dadapt_adamw", "dog", "dowg", "simplified_ademamix"]
CONTRIB += ["schedule_free_sgd", "schedule_free_adamw", "cocob"]
CASES |= {name: lambda lib, name=name: getattr(lib.contrib, name)(0.1) for name in CONTRIB}


SAME_FIELDS = {
    "ScheduledState": "ScaleByScheduleState",
    "WeightDecaySchedule": "ScaleByScheduleState",
    "ScaleByAdamaxState": "ScaleByAdamState",
    "ScaleByRadamState": "ScaleByAdamState",
    "ScaleByYogiState": "ScaleByAdamState",
    "ScaleByAdoptState": "ScaleByAdamState",
}
"""Classes that gradx, or Optax, has of their own for what the other keeps in one."""


def described(node, path=""):
    """Return (path, what lies there) for every node of a state."""
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        name = SAME_FIELDS.get(type(node).__name__, type(node).__name__)
        below = {f".{x}": getattr(node, x) for x in node._fields if not _is_empty_beside_count(node, x)}
    elif isinstance(node, tuple | list):
        name, below = f"{type(node).__name__} of {len(node)}", {f"[{i}]": x for i, x in enumerate(node)}
    elif isinstance(node, dict):
        name, below = "dict", {f"[{key!r}]": x for key, x in sorted(node.items())}
    else:
        return {path: f"{node.dtype}{list(node.shape)}"}
    found = {path: name}
    for step, x in below.items():
        found |= described(x, path + step)
    return found


def _is_empty_beside_count(node, field):
    return type(node).__name__ == "ScheduledState" and field == "inner_state" and not jax.tree.leaves(node.inner_state)


@pytest.mark.parametrize("name", CASES)
def test_states_have_optax_types_paths_shapes_and_dtypes(name):
    ours, theirs = described(CASES[name](shim).init(PARAMS)), described(CASES[name](optax).init(PARAMS))
    if name in TYPED_KEY:
        ours, theirs = ({k: x for k, x in d.items() if "rng_key" not in k} for d in (ours, theirs))
    assert ours == theirs


@pytest.mark.parametrize("name", CASES)
def test_what_optax_stored_goes_on_here(name):
    """The leaves of a state of Optax, put into ours by their order: the next updates are the same."""
    theirs, ours, extras = CASES[name](optax), CASES[name](shim), EXTRAS.get(name, {})
    grads = jax.tree.map(lambda x: 0.3 * x, PARAMS)
    state = theirs.init(PARAMS)
    for _ in range(3):
        _, state = theirs.update(grads, state, PARAMS, **extras)
    if name in TYPED_KEY:
        state = jax.tree.map(lambda x: x if jnp.issubdtype(x.dtype, jnp.number) else jax.random.key_data(x), state)
    own_state = jax.tree.unflatten(jax.tree.structure(ours.init(PARAMS)), jax.tree.leaves(state))
    if name in GOES_ITS_WAY:
        ours.update(grads, own_state, PARAMS)
        return
    for _ in range(3):
        expected, state = theirs.update(grads, state, PARAMS, **extras)
        got, own_state = ours.update(grads, own_state, PARAMS, **extras)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), got, expected)
