"""One row for each public transformation; every contract runs over every row."""

from dataclasses import dataclass, field
from typing import Any

import gradx


@dataclass(frozen=True)
class Row:
    """A transformation with ordinary arguments, and what it is excused from."""

    tx: gradx.GradientTransformation
    skip: tuple[str, ...] = ()
    """Clauses of the contract that do not apply; each with a reason beside it."""
    trains: bool = True
    """Whether it lowers a loss by itself; a building block is put before sgd instead."""
    extras: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return repr(self.tx)


def decays(params: gradx.Params) -> Any:
    return gradx.tree.map_with_path(lambda name, x: not name.endswith("bias"), params)


def label_by_name(params: gradx.Params) -> Any:
    return gradx.tree.map_with_path(lambda name, x: "plain" if name.endswith("bias") else "adam", params)


def halve(updates: gradx.Updates, params: gradx.Params | None) -> gradx.Updates:
    return gradx.tree.scale(0.5, updates)


def add(update: Any, param: Any) -> Any:
    return update + param


def keep_init(params: gradx.Params) -> gradx.EmptyState:
    return gradx.EmptyState()


def keep_update(updates: gradx.Updates, state: Any, params: Any = None) -> tuple:
    return updates, state


warmup = gradx.linear_schedule(0.0, 0.1, 5)

OPTIMIZERS = [
    Row(gradx.sgd(0.1)),
    Row(gradx.sgd(0.1, momentum=0.9)),
    Row(gradx.sgd(gradx.cosine_decay_schedule(0.1, 100), momentum=0.9, nesterov=True)),
    Row(gradx.rmsprop(0.01)),
    Row(gradx.rmsprop(0.01, eps_in_sqrt=False, momentum=0.9, nesterov=True)),
    Row(gradx.rmsprop(0.01, centered=True)),
    Row(gradx.adam(0.01)),
    Row(gradx.adam(0.01, b1=gradx.linear_schedule(0.8, 0.95, 10), eps_root=1e-8, nesterov=True)),
    Row(gradx.adamw(0.01)),
    Row(gradx.adamw(warmup, weight_decay=0.1, mask=decays)),
    Row(gradx.nadam(0.01)),
    Row(gradx.nadamw(0.01)),
    Row(gradx.adagrad(0.1)),
    Row(gradx.adadelta(1.0, weight_decay=0.01)),
]

BUILDING_BLOCKS = [
    Row(gradx.scale_by_adam(), trains=False),
    Row(gradx.scale_by_rms(initial_scale=0.1, bias_correction=True), trains=False),
    Row(gradx.scale_by_stddev(), trains=False),
    Row(gradx.scale_by_rss(), trains=False),
    Row(gradx.scale_by_adadelta(), trains=False),
    Row(gradx.scale(0.5), trains=False),
    Row(gradx.scale_by_learning_rate(0.1)),
    Row(gradx.scale_by_schedule(warmup), trains=False),
    Row(gradx.add_decayed_weights(0.1), trains=False),
    Row(gradx.momentum(0.9, nesterov=True), trains=False),
    Row(gradx.ema(0.9), trains=False),
    Row(gradx.clip(0.5), trains=False),
    Row(gradx.clip_by_global_norm(1.0), trains=False),
    Row(gradx.clip_by_block_rms(0.5), trains=False),
    Row(gradx.adaptive_grad_clip(0.1), trains=False),
    Row(gradx.zero_nans(), trains=False),
    # complex noise is another draw
    Row(gradx.add_noise(0.01, 0.55, seed=0), skip=("complex",), trains=False),
    Row(gradx.centralize(), trains=False),
    # its zeros depend on nothing, so that XLA drops the backward pass of what is frozen; so their place is XLA's choice
    Row(gradx.set_to_zero(), skip=("sharding",), trains=False),
    Row(gradx.identity(), trains=False),
    Row(gradx.stateless(halve), trains=False),
    Row(gradx.stateless_with_tree_map(add), trains=False),
    Row(gradx.GradientTransformation(keep_init, keep_update), trains=False),
]

COMBINATIONS = [
    Row(gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(warmup))),
    Row(gradx.named_chain(("clip", gradx.clip(1.0)), ("step", gradx.sgd(0.1)))),
    Row(gradx.masked(gradx.add_decayed_weights(0.1), decays), trains=False),
    Row(gradx.partition({"plain": gradx.sgd(0.1), "adam": gradx.adam(0.01)}, label_by_name)),
    Row(gradx.freeze(False), trains=False),
    Row(gradx.MultiSteps(gradx.adam(0.01), 2)),
    Row(gradx.MultiSteps(gradx.sgd(0.1), 2, use_grad_mean=False, should_skip_update_fn=gradx.skip_not_finite)),
    Row(gradx.inject_hyperparams(gradx.adamw)(0.01)),
    Row(gradx.inject_hyperparams(gradx.sgd)(warmup, momentum=0.9)),
]

MOMENTS = [
    Row(gradx.adabelief(0.01, b2=0.5, eps_root=1e-3)),
    Row(gradx.adabelief(0.01, b2=0.5, eps_root=1e-3, nesterov=True)),
    Row(gradx.scale_by_belief(b2=0.5, eps_root=1e-3), trains=False),
    Row(gradx.acprop(0.01, b2=0.9, weight_decay=0.1, mask=decays)),
    Row(gradx.scale_by_acprop(b2=0.9), trains=False),
    Row(gradx.adamax(0.01)),
    Row(gradx.adamaxw(0.01, weight_decay=0.1, mask=decays)),
    Row(gradx.scale_by_adamax(), trains=False),
    Row(gradx.amsgrad(0.01)),
    Row(gradx.scale_by_amsgrad(b2=0.9, bias_correction_mu=False, bias_correction_nu=False), trains=False),
    Row(gradx.lion(0.01, mask=decays)),
    Row(gradx.scale_by_lion(), trains=False),
    Row(gradx.scale_by_lion(mode="smooth", smooth_beta=2.0), trains=False),
    Row(gradx.scale_by_lion(mode="refined"), trains=False),
    Row(gradx.radam(0.01)),
    Row(gradx.scale_by_radam(b2=0.9, nesterov=True), trains=False),
    Row(gradx.yogi(0.01)),
    Row(gradx.scale_by_yogi(b2=0.9), trains=False),
    Row(gradx.adan(0.01, weight_decay=0.1, mask=decays)),
    Row(gradx.scale_by_adan(), trains=False),
    Row(gradx.novograd(0.01, weight_decay=0.1)),
    Row(gradx.scale_by_novograd(), trains=False),
    Row(gradx.ademamix(0.01, alpha=gradx.linear_schedule(0.0, 5.0, 10), weight_decay=0.1, mask=decays)),
    Row(gradx.scale_by_ademamix(), trains=False),
    Row(gradx.simplified_ademamix(0.001, alpha=2.0, weight_decay=0.1, mask=decays)),
    Row(gradx.scale_by_simplified_ademamix(b1=0.5), trains=False),
    Row(gradx.adopt(0.01)),
    Row(gradx.adopt(0.01, nesterov=True, use_clipping=False)),
    Row(gradx.scale_by_adopt(), trains=False),
    Row(gradx.madgrad(0.1, weight_decay=0.01)),
    Row(gradx.scale_by_madgrad(warmup)),
    Row(gradx.nadam(0.01, momentum_decay=4e-3)),
    Row(gradx.nadamw(0.01, momentum_decay=4e-3, mask=decays)),
]

ZOO = OPTIMIZERS + BUILDING_BLOCKS + COMBINATIONS + MOMENTS
