"""What becomes of a state when the optimizer changes: the rows of the table in `docs/checkpoints.md`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from gradx import tree

PARAMS = {"layer": {"kernel": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "bias": jnp.ones(3)}, "scale": jnp.float32(2)}
SCHEDULE = gradx.linear_schedule(0.1, 0.0, 100)
ADAMW, EMA = gradx.adamw(0.01), gradx.ema(0.9)
GROUPS = {"layer": {"kernel": "one", "bias": "two"}, "scale": "two"}
RENAMED = {"layer": {"kernel": "matrices", "bias": "rest"}, "scale": "rest"}


@dataclass(frozen=True)
class Change:
    """A change of the optimizer or of the parameters, and what must become of the state."""

    what: str
    """The row's first column."""
    becomes: str
    """Its second."""
    old: gradx.GradientTransformation
    new: gradx.GradientTransformation
    fresh: tuple[str, ...] = ()
    """The leaves that are new, all of them."""
    left_out: tuple[str, ...] = ()
    """The leaves that are left out, all of them."""
    params: Callable[[Any], Any] = lambda params: params
    """From the old parameters to the new ones."""

    def __str__(self) -> str:
        return self.what


def of(part: str, *fields: str) -> tuple[str, ...]:
    """Return the names of the leaves that some fields of a part keep for the parameters."""
    return tuple(f"{part}.{field}:{name}" for field in fields for name in ("layer/bias", "layer/kernel", "scale"))


def with_head(params: Any) -> Any:
    return params | {"head": jnp.ones(4)}


def without_scale(params: Any) -> Any:
    return {"layer": params["layer"]}


def wider(params: Any) -> Any:
    return params | {"layer": params["layer"] | {"bias": jnp.ones(5)}}


def in_bfloat16(params: Any) -> Any:
    return tree.cast(params, jnp.bfloat16)


def by_depth(params: Any) -> Any:
    return jax.tree.map(lambda x: "one" if x.ndim > 1 else "two", params)


NUMBERS = ("scale_by_adam.mu", "scale_by_adam.nu")
CHANGES = [
    Change("nothing", "all matched, bit for bit", ADAMW, ADAMW),
    Change("a part is put into a chain", "the others go on, it starts anew",
           gradx.chain(ADAMW), gradx.chain(gradx.clip(1.0), EMA, ADAMW), fresh=("ema.count", *of("ema", "ema"))),
    Change("a part is taken out of a chain", "the others go on, its state is left out",
           gradx.chain(EMA, gradx.clip(1.0), ADAMW), gradx.chain(ADAMW), left_out=("ema.count", *of("ema", "ema"))),
    Change("the parts of a chain change places", "all matched",
           gradx.chain(EMA, gradx.momentum(0.9)), gradx.chain(gradx.momentum(0.9), EMA)),
    Change("one of two like parts is taken out", "the other is known by its arguments",
           gradx.chain(EMA, gradx.ema(0.5)), gradx.chain(gradx.ema(0.5)), left_out=("ema.count", *of("ema", "ema"))),
    Change("a chain gets names, or loses them", "all matched",
           gradx.named_chain(("smooth", EMA), ("step", ADAMW)), gradx.chain(EMA, ADAMW)),
    Change("a recipe is written out, or becomes a kindred one", "the parts that stay are matched",
           gradx.adam(SCHEDULE), gradx.adamw(SCHEDULE, weight_decay=0.1)),
    Change("hyperparameters change", "all matched; the report shows the arguments before and now",
           gradx.adamw(0.01, b2=0.99), gradx.adamw(0.1, b2=0.999, weight_decay=0.5)),
    Change("a constant becomes a schedule", "it goes on at the step that the moments' count has reached",
           ADAMW, gradx.adamw(SCHEDULE)),
    Change("a schedule becomes a constant", "its count is left out",
           gradx.adamw(SCHEDULE), ADAMW, left_out=("adamw/scale_by_learning_rate.schedule_count",)),
    Change("a label of a partition is renamed", "all matched: a parameter has one label",
           gradx.partition({"one": ADAMW, "two": gradx.adamw(SCHEDULE)}, GROUPS),
           gradx.partition({"matrices": ADAMW, "rest": gradx.adamw(SCHEDULE)}, RENAMED)),
    Change("one optimizer becomes a partition", "each part takes its parameters' share, and the count",
           gradx.adamw(SCHEDULE),
           gradx.partition({"one": gradx.adamw(SCHEDULE), "two": gradx.adamw(SCHEDULE)}, GROUPS)),
    Change("a partition becomes one optimizer", "all shares matched; counts that differ: that of most parameters",
           gradx.partition({"one": ADAMW, "two": gradx.adamw(0.1)}, by_depth), ADAMW,
           left_out=("one/adamw/scale_by_adam.count",)),
    Change("the optimizer is wrapped (`MultiSteps`, ...)", "all of it matched, the wrapper's own numbers are new",
           gradx.adamw(SCHEDULE), gradx.MultiSteps(gradx.adamw(SCHEDULE), 4),
           fresh=("MultiSteps.mini_step", "MultiSteps.gradient_step", *of("MultiSteps", "acc_grads"))),
    Change("the wrapper is taken off", "the optimizer matched, the wrapper's own numbers are left out",
           gradx.apply_if_finite(ADAMW, 3), ADAMW,
           left_out=tuple(f"apply_if_finite.{x}" for x in ("notfinite_count", "last_finite", "total_notfinite"))),
    Change("hyperparameters are injected, or no longer", "the optimizer matched; injected values are new",
           gradx.sgd(SCHEDULE, momentum=0.9), gradx.inject_hyperparams(gradx.sgd(SCHEDULE, momentum=0.9)),
           fresh=("inject_hyperparams.hyperparams/learning_rate", "inject_hyperparams.hyperparams/momentum")),
    Change("moments get another dtype", "all matched, cast; the report shows it",
           ADAMW, gradx.adamw(0.01, mu_dtype=jnp.bfloat16)),
    Change("parameters get another dtype", "all matched: states are float32 for bfloat16 too",
           ADAMW, ADAMW, params=in_bfloat16),
    Change("a parameter is added", "the others go on, it starts at 0 under their count (see below)",
           ADAMW, ADAMW, params=with_head, fresh=("adamw/scale_by_adam.mu:head", "adamw/scale_by_adam.nu:head")),
    Change("a parameter is taken away", "the others go on, its state is left out",
           ADAMW, ADAMW, params=without_scale, left_out=tuple(f"adamw/{x}:scale" for x in NUMBERS)),
    Change("a parameter gets another shape", "the others go on, its state is left out and starts anew",
           ADAMW, ADAMW, params=wider, fresh=tuple(f"adamw/{x}:layer/bias" for x in NUMBERS),
           left_out=tuple(f"adamw/{x}:layer/bias" for x in NUMBERS)),
    Change("parameters change under `flatten`", "its one vector is left out, with its count, and starts anew",
           gradx.flatten(gradx.adam(0.1)), gradx.flatten(gradx.adam(0.1)), params=with_head,
           fresh=tuple(f"flatten/adam/scale_by_adam.{x}" for x in ("count", "mu", "nu")),
           left_out=tuple(f"flatten/adam/scale_by_adam.{x}" for x in ("count", "mu", "nu"))),
    Change("the memory of L-BFGS gets another length", "a part whose own numbers change shape starts anew",
           gradx.scale_by_lbfgs(4), gradx.scale_by_lbfgs(5),
           fresh=("scale_by_lbfgs.count", "scale_by_lbfgs.weights_memory",
                  *of("scale_by_lbfgs", "params", "updates", "diff_params_memory", "diff_updates_memory")),
           left_out=("scale_by_lbfgs.count", "scale_by_lbfgs.weights_memory",
                     *of("scale_by_lbfgs", "params", "updates", "diff_params_memory", "diff_updates_memory"))),
]  # fmt: skip


def same_bits(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
