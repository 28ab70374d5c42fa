"""One row for each public transformation; every contract runs over every row."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import pytest

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

    @property
    def kind(self) -> tuple[str, ...]:
        """The factories that made it, in order."""
        return tuple(re.findall(r"(\w+)\(", str(self)))


def first_of_a_kind(rows: Iterable[Row]) -> list[Any]:
    """Return the rows for `parametrize`; those with other arguments for the same factories are in the slow tail."""
    seen, marked = set(), []
    for row in rows:
        marked.append(pytest.param(row, marks=pytest.mark.slow if row.kind in seen else (), id=str(row)))
        seen.add(row.kind)
    return marked


def in_turn(rows: Iterable[Row], clauses: Sequence[str]) -> list[Any]:
    """Return (row, clause) for `parametrize`: the fast set has every second: each row, each clause."""
    kinds, marked = set(), []
    for i, row in enumerate(rows):
        for j, clause in enumerate(clauses):
            is_late = row.kind in kinds or (i + j) % 2
            marked.append(pytest.param(row, clause, marks=pytest.mark.slow if is_late else (), id=f"{row}-{clause}"))
        kinds.add(row.kind)
    return marked


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


def is_matrix(params: gradx.Params) -> Any:
    return gradx.tree.map_with_path(lambda name, x: x.ndim >= 2, params)


def squares(updates: gradx.Updates, params: gradx.Params | None) -> gradx.Updates:
    return jax.tree.map(lambda g: g * g, updates)


def as_one_example(updates: gradx.Updates, params: gradx.Params | None) -> gradx.Updates:
    return jax.tree.map(lambda g: g[None], updates)


def as_two_examples(updates: gradx.Updates, params: gradx.Params | None) -> gradx.Updates:
    return jax.tree.map(lambda g: jnp.stack([0.5 * g, 1.5 * g]), updates)


def wave(params: gradx.Params) -> Any:
    return sum((jnp.sum(jnp.cos(jnp.real(x))) for x in jax.tree.leaves(params)), jnp.float32(0))


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


def at_odd_steps(step: Any) -> Any:
    return step % 2 == 1


MEASURES = {"norm": gradx.tree.norm, "mean_norm": gradx.measure_with_ema(gradx.tree.norm, 0.9)}

WRAPPERS = [
    Row(gradx.apply_if_finite(gradx.adam(0.01), 3)),
    Row(gradx.skip_outliers(gradx.sgd(0.1, momentum=0.9), warmup_steps=2)),
    Row(gradx.conditionally_transform(gradx.adam(0.01), at_odd_steps), trains=False),
    Row(gradx.conditionally_mask(gradx.adam(0.01), at_odd_steps)),
    Row(gradx.selective_transform(gradx.adam(0.01), freeze_mask=False)),
    Row(gradx.lookahead(gradx.sgd(0.1, momentum=0.9), 2, 0.5)),
    Row(gradx.lookahead(gradx.adam(0.01), 3, 0.8, reset_state=True)),
    Row(gradx.average_params(gradx.adam(0.01))),
    Row(gradx.average_params(gradx.sgd(0.1), None, start=2, every=2)),
    Row(gradx.average_params(gradx.sgd(0.1), 0.9, debias=False, overwrite_every=2)),
    Row(gradx.snapshot("norm", gradx.tree.norm), trains=False),
    Row(gradx.monitor(MEASURES), trains=False),
    Row(gradx.static_loss_scale(gradx.adam(0.01), 8.0)),
    Row(gradx.dynamic_loss_scale(gradx.adam(0.01), 8.0)),
    Row(gradx.apply_every(2), trains=False),
    Row(gradx.chain(gradx.stateless(as_two_examples), gradx.average_examples(), gradx.sgd(0.1))),
    Row(gradx.chain(gradx.stateless(as_two_examples), gradx.track_examples(0.5)), trains=False),
    Row(gradx.flatten(gradx.adam(0.01))),
    # a complex number is not negative
    Row(gradx.chain(gradx.sgd(0.1), gradx.keep_params_nonnegative()), skip=("complex",)),
]


LOSS = {"value": 0.7}
"""What those that ask for the loss are told."""

PARAMETER_FREE = [
    Row(gradx.polyak_sgd(0.1), extras=LOSS),
    Row(gradx.polyak_sgd(0.1, warmup, variant="sps+"), extras=LOSS),
    Row(gradx.scale_by_polyak(eps=0.1), trains=False, extras=LOSS),
    Row(gradx.schedule_free(gradx.rmsprop(0.1), 0.1, b1=gradx.linear_schedule(0.8, 0.95, 10))),
    Row(gradx.schedule_free_sgd(0.1, warmup_steps=2, weight_decay=0.1)),
    Row(gradx.schedule_free_adamw(0.02)),
    Row(gradx.prodigy(estim_lr0=0.01)),
    Row(gradx.prodigy(warmup, (0.8, 0.99), 0.9, estim_lr0=0.1, weight_decay=0.1, safeguard_warmup=True)),
    Row(gradx.dadapt_adamw(estim_lr0=0.01, weight_decay=0.1)),
    Row(gradx.dog(init_step=("distance", 0.1), weight_decay=0.01, mask=decays)),
    Row(gradx.dog(init_step=("learning_rate", 0.1))),
    Row(gradx.scale_by_dog(("heuristic", 0.5)), trains=False),
    Row(gradx.dowg(init_estim_sq_dist=0.1)),
    Row(gradx.scale_by_dowg(eps=1.0), trains=False),
    Row(gradx.scale_by_distance_over_gradients(0.1), trains=False),
    Row(gradx.cocob(alpha=10.0, weight_decay=0.01)),
    Row(gradx.scale_by_cocob()),
    Row(gradx.momo(0.1, weight_decay=0.01), extras=LOSS),
    Row(gradx.momo(0.1, adapt_lower_bound=True), extras=LOSS),
    Row(gradx.momo_adam(0.05, weight_decay=0.01), extras=LOSS),
    Row(gradx.momo_adam(0.05, lower_bound=-1.0, adapt_lower_bound=True), extras=LOSS),
    Row(gradx.reduce_on_plateau(0.5, patience=2, accumulation_size=2), trains=False, extras=LOSS),
    Row(gradx.normalize(), trains=False),
    Row(gradx.mechanize(gradx.adamw(0.1), s_init=0.1)),
    Row(gradx.sam(gradx.sgd(0.1), gradx.sgd(0.05))),
    Row(gradx.sam(gradx.adam(0.05), gradx.sgd(0.01, momentum=0.5), 3, reset_state=False)),
]


def bowl(params: gradx.Params) -> Any:
    return gradx.tree.norm(params, squared=True)


# a `lax.while_loop` has no derivative in reverse: JAX refuses the clause of derivatives
SEARCH = {"skip": ("grad",), "extras": {"value_fn": bowl}}

LINE_SEARCHES = [
    Row(gradx.scale_by_lbfgs(), trains=False),
    Row(gradx.lbfgs(0.1, memory_size=3, linesearch=None)),
    Row(gradx.lbfgs(), **SEARCH),
    Row(gradx.lbfgs(linesearch=gradx.scale_by_zoom_linesearch(10, initial_guess_strategy="one")), **SEARCH),
    Row(gradx.chain(gradx.sgd(0.5), gradx.scale_by_more_thuente_linesearch(10)), **SEARCH),
    Row(gradx.chain(gradx.sgd(0.5), gradx.scale_by_zoom_linesearch(10, approx_dec_rtol=None)), **SEARCH),
    Row(gradx.chain(gradx.sgd(0.5), gradx.scale_by_backtracking_linesearch(10, store_grad=True)), **SEARCH),
]


LAYERWISE = [
    Row(gradx.sign_sgd(0.05)),
    Row(gradx.signum(0.05)),
    Row(gradx.scale_by_trust_ratio(trust_coefficient=0.5, eps=0.1), trains=False),
    Row(gradx.scale_by_param_block_norm(), trains=False),
    Row(gradx.scale_by_param_block_rms(), trains=False),
    Row(gradx.normalize_by_update_norm(), trains=False),
    Row(gradx.lars(0.1, weight_decay=0.01, weight_decay_mask=decays, trust_coefficient=0.1)),
    Row(gradx.lamb(0.01, weight_decay=0.01)),
    Row(gradx.fromage(0.05)),
    Row(gradx.fromage(warmup)),
    Row(gradx.rprop(0.01)),
    # complex noise is another draw
    Row(gradx.noisy_sgd(0.1, eta=0.01, seed=0), skip=("complex",)),
    Row(gradx.optimistic_gradient_descent(0.1, beta=0.5)),
    Row(gradx.optimistic_adam_v2(0.01)),
    Row(gradx.sm3(0.1)),
    Row(gradx.scale_by_sm3(b2=0.9), trains=False),
    Row(gradx.adafactor(0.1)),
    Row(gradx.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9, weight_decay_rate=0.01)),
    Row(gradx.adafactor(0.1, 1, last_axes=True)),
    Row(gradx.scale_by_factored_rms(min_dim_size_to_factor=2), trains=False),
    Row(gradx.asgd(0.1, lambd=0.01, t0=0.5)),
    # the name `array` does not say what it is: it asks
    Row(gradx.muon(0.05), skip=("odd_leaves",)),
    Row(
        gradx.muon(0.05, shape_scaling="moonlight", ns_coeffs="polar_express", muon_weight_dimension_numbers=is_matrix)
    ),
    Row(gradx.muon(0.05, weight_decay=0.01, adaptive=True, nesterov=False, muon_weight_dimension_numbers=is_matrix)),
    Row(gradx.scale_by_muon(eps=1e-3), trains=False),
    Row(gradx.normuon(0.05, weight_decay=0.01, weight_dimension_numbers=is_matrix)),
    Row(gradx.scale_by_normuon(nesterov=True), trains=False),
    Row(gradx.adamuon(0.05, weight_dimension_numbers=is_matrix)),
    Row(gradx.scale_by_adamuon(), trains=False),
    Row(gradx.dion(0.05, rank=2, weight_dimension_numbers=is_matrix)),
    Row(gradx.scale_by_dion(rank=2), trains=False),
    Row(gradx.dion2(0.05, one_in=2, weight_dimension_numbers=is_matrix)),
    Row(gradx.scale_by_dion2(one_in=2), trains=False),
    Row(gradx.scion(0.02, radius=3.0, weight_dimension_numbers=is_matrix)),
    Row(gradx.scale_by_scion(), trains=False),
    Row(gradx.scale_by_scion("sign", radius=3.0), trains=False),
    Row(gradx.scale_by_scion("vectors"), trains=False),
    # ten steps of Newton-Schulz enlarge the rounding of a small direction beyond float16's own
    Row(gradx.polargrad(0.05, adam_learning_rate=0.01, weight_dimension_numbers=is_matrix), skip=("low_precision",)),
    Row(gradx.scale_by_polargrad(), trains=False, skip=("low_precision",)),
    Row(gradx.scale_by_shape(consistent_rms=0.2), trains=False),
    Row(gradx.galore(0.05, rank=2)),
    # the gradient as that of one example
    Row(gradx.chain(gradx.stateless(as_one_example), gradx.dpsgd(0.1, 1.0, 0.0, seed=0))),
    Row(gradx.sophia(0.05, update_interval=2, hessian_diagonal_fn=gradx.stateless(squares))),
    Row(gradx.hutchinson_estimator_diag_hessian(), trains=False, extras={"obj_fn": wave}),
    # one moment for both parts of a complex number is another formula than one for each
    Row(gradx.split_real_and_imaginary(gradx.adamw(0.01)), skip=("complex",)),
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


def cosines(params: gradx.Params) -> Any:
    return jax.tree.map(jnp.cos, params)


FALLING_SHARE = gradx.linear_schedule(0.9, 0.5, 10)

ORTHOGONAL = [
    Row(gradx.cautious(gradx.adamw(0.01))),
    Row(gradx.cautious(gradx.scale_by_adam(), decays, uphill=True), trains=False),
    Row(gradx.add_cautious_decayed_weights(0.1), trains=False),
    Row(gradx.add_corrected_decayed_weights(0.1, warmup, 0.1, decays), trains=False),
    Row(gradx.adamc(0.01, 0.02, normalized=decays)),
    Row(gradx.zclip(0.5, 0.9, warmup_steps=1), trains=False),
    Row(gradx.adagc(warmup_steps=1), trains=False),
    Row(gradx.mars_correction(0.5, max_norm=0.7), trains=False),
    Row(gradx.mars_correction(exact=True), trains=False, extras={"grad_fn": cosines}),
    Row(gradx.mars_adamw(0.01, weight_decay=0.1, mask=decays)),
    Row(gradx.hyperball(gradx.adam(0.01), 0.02)),
    Row(gradx.hyperball(gradx.sgd(0.1, momentum=0.9), warmup, is_matrix)),
    Row(gradx.graft(gradx.adam(0.01), gradx.sgd(0.1, momentum=0.9))),
    Row(gradx.graft(gradx.sgd(0.1), gradx.adam(0.01), decays)),
    Row(gradx.generalized_primal_averaging(gradx.adamw(0.01), 0.9)),
    Row(gradx.generalized_primal_averaging(gradx.sgd(0.1), 0.5, FALLING_SHARE)),
    Row(gradx.average_params(gradx.sgd(0.1), None, overwrite_every=2, tail=3.0)),
    Row(gradx.laprop(0.01, weight_decay=0.1, mask=decays)),
    Row(gradx.scale_by_laprop(b2=0.5), trains=False),
    Row(gradx.stable_adamw(0.01)),
    Row(gradx.scale_by_stable_adam(b2=0.5, threshold=0.7), trains=False),
    Row(gradx.adam_mini(0.01, weight_decay=0.1)),
    Row(gradx.scale_by_adam_mini(blocks=()), trains=False),
    Row(gradx.apollo(0.01, rank=2, weight_decay=0.1, mask=decays)),
    Row(gradx.apollo_mini(0.001, update_proj_gap=2)),
    Row(gradx.scale_by_apollo(2, growth=1.5, weight_dimension_numbers=is_matrix), trains=False),
]

KRONECKER = [
    Row(gradx.shampoo(0.05)),
    Row(gradx.shampoo(0.05, graft="rmsprop", update_interval=1, max_size=2)),
    Row(gradx.shampoo(0.05, graft="sgd", inverse="newton", update_interval=2, when_larger="diagonal", max_size=3)),
    Row(gradx.shampoo(0.05, graft=None, factors="sum", update_interval=1, one_sided=True, mask=decays)),
    Row(gradx.scale_by_shampoo(ridge=1e-3, root=2, update_interval=2), trains=False),
    Row(gradx.soap(0.05)),
    Row(gradx.soap(0.05, update_interval=1, max_size=3, mask=decays)),
    Row(gradx.scale_by_soap(update_interval=2, max_size=2, when_larger="blocks"), trains=False),
    Row(gradx.soap_muon(0.05, update_interval=1, ns_steps=2)),  # more of them enlarge the rounding of small directions
    Row(gradx.scale_by_soap_muon(eps=0.1, ns_steps=1, one_sided=False), trains=False),
    Row(gradx.kl_shampoo(0.05)),
    Row(gradx.kl_shampoo(0.05, update_interval=1, max_size=3, mask=decays)),
    Row(gradx.kl_soap(0.05, update_interval=1)),
    Row(gradx.scale_by_kl_shampoo(max_size=2, when_larger="blocks"), trains=False),
    Row(gradx.scale_by_kl_soap(one_sided=True), trains=False),
    Row(gradx.kron(0.05)),
    Row(gradx.kron(0.05, geometry="dense", max_rms=None, mask=decays)),
    Row(gradx.scale_by_kron(update_probability=0.5, max_size=3), trains=False),
]

ZOO = [
    *OPTIMIZERS,
    *BUILDING_BLOCKS,
    *COMBINATIONS,
    *WRAPPERS,
    *PARAMETER_FREE,
    *LINE_SEARCHES,
    *LAYERWISE,
    *MOMENTS,
    *ORTHOGONAL,
    *KRONECKER,
]
