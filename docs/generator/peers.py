"""What is called otherwise in PyTorch and in Keras: their call, ours, and what is to be known about it.

Where a line says "same numbers", a test of the suite compares the two step by step.
"""

import importlib
import re
from typing import NamedTuple

SAME = "same numbers"


class Peer(NamedTuple):
    """A call of another library, and what to write here."""

    theirs: str
    ours: str
    note: str = ""

    @property
    def name(self) -> str:
        """The class of the other library."""
        return self.theirs.partition("(")[0]

    def uses(self, short: str) -> bool:
        """Whether ours is an optimizer of this name, alone or at the end of a chain."""
        return re.search(rf"\bgradx\.{short}\(", self.ours) is not None


TORCH_OPTIMIZERS = [
    Peer("SGD(params, lr=0.1)", "gradx.sgd(0.1)", SAME),
    Peer("SGD(params, lr=0.1, momentum=0.9)", "gradx.sgd(0.1, momentum=0.9)", SAME),
    Peer("SGD(params, lr=0.1, momentum=0.9, nesterov=True)", "gradx.sgd(0.1, momentum=0.9, nesterov=True)", SAME),
    Peer(
        "SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-4)",
        "gradx.chain(gradx.add_decayed_weights(1e-4), gradx.sgd(0.1, momentum=0.9))",
        "torch adds the decay to the gradient, before the momentum",
    ),
    Peer("Adam(params, lr=1e-3, betas=(0.9, 0.999))", "gradx.adam(1e-3, b1=0.9, b2=0.999)", SAME),
    Peer(
        "Adam(params, lr=1e-3, weight_decay=0.01)",
        "gradx.chain(gradx.add_decayed_weights(0.01), gradx.adam(1e-3))",
        f"{SAME}; this is L2 regularization, not AdamW's decay",
    ),
    Peer(
        "Adam(params, lr=1e-3, amsgrad=True)",
        "gradx.amsgrad(1e-3)",
        "the maximum is taken of the corrected second moment, as in Optax; torch's is taken before the correction",
    ),
    Peer("AdamW(params, lr=1e-3)", "gradx.adamw(1e-3, weight_decay=0.01)", f"{SAME}; the default decay here is 1e-4"),
    Peer("Adamax(params, lr=2e-3)", "gradx.adamax(2e-3)", SAME),
    Peer("NAdam(params, lr=2e-3)", "gradx.nadam(2e-3, momentum_decay=4e-3)", SAME),
    Peer(
        "NAdam(params, lr=2e-3, weight_decay=0.01, decoupled_weight_decay=True)",
        "gradx.nadamw(2e-3, weight_decay=0.01, momentum_decay=4e-3)",
        SAME,
    ),
    Peer("RAdam(params, lr=1e-3)", "gradx.radam(1e-3)", SAME),
    Peer(
        "RMSprop(params, lr=0.01)",
        "gradx.rmsprop(0.01, decay=0.99, eps_in_sqrt=False)",
        f"{SAME}; torch adds eps outside of the root",
    ),
    Peer(
        "RMSprop(params, lr=0.01, momentum=0.9)",
        "gradx.rmsprop(0.01, decay=0.99, eps_in_sqrt=False, momentum=0.9)",
        SAME,
    ),
    Peer(
        "RMSprop(params, lr=0.01, centered=True)",
        "gradx.rmsprop(0.01, decay=0.99, eps_in_sqrt=False, centered=True)",
        SAME,
    ),
    Peer(
        "Adagrad(params, lr=0.01)",
        "gradx.adagrad(0.01, initial_accumulator_value=0.0, eps=1e-20)",
        "torch adds 1e-10 outside of the root, which is about 1e-20 inside of it",
    ),
    Peer("Adadelta(params, lr=1.0)", "gradx.adadelta(1.0)", SAME),
    Peer("Adafactor(params, lr=0.01)", "gradx.adafactor(lambda step: jnp.minimum(0.01, (step + 1) ** -0.5), 1, last_axes=True)", f"{SAME} wherever squares of gradients are above 1e-7 in the mean; torch's decay is `weight_decay_rate=lr * w`"),  # fmt: skip
    Peer("Rprop(params, lr=0.01)", "gradx.rprop(0.01)", SAME),
    Peer("ASGD(params, lr=0.01)", "gradx.asgd(0.01)", f"{SAME}; the average is `gradx.eval_params(state, params)`"),
    Peer(
        'LBFGS(params, lr=1, history_size=100, line_search_fn="strong_wolfe")',
        "gradx.lbfgs(memory_size=100)",
        "no closure: `gradx.minimize(fun, params)` runs it to the minimum; the search is SciPy's",
    ),
    Peer(
        "Muon(params, lr=1e-3, weight_decay=0.1)",
        "gradx.muon(1e-3, weight_decay=0.1)",
        "torch's takes matrices only; here the rest goes to AdamW inside the same optimizer",
    ),
    Peer(
        "SparseAdam(params, lr=1e-3)",
        "gradx.adam(1e-3)",
        "gradients of JAX are dense arrays: rows of zeros are moved by their momentum, which SparseAdam leaves alone",
    ),
]
TORCH_SCHEDULERS = [
    Peer("StepLR(optimizer, 30, 0.1)", "gradx.step_decay_schedule(0.1, 30, 0.1)", SAME),
    Peer("MultiStepLR(optimizer, [30, 80], 0.1)", "gradx.multi_step_schedule(0.1, [30, 80], 0.1)", SAME),
    Peer("ConstantLR(optimizer, 1 / 3, 5)", "gradx.piecewise_constant_schedule(0.1 / 3, {5: 3.0})", SAME),
    Peer("LinearLR(optimizer, 1 / 3, 1.0, 5)", "gradx.linear_schedule(0.1 / 3, 0.1, 5)", SAME),
    Peer("ExponentialLR(optimizer, 0.99)", "gradx.exponential_decay(0.1, 1, 0.99)", SAME),
    Peer("PolynomialLR(optimizer, 100, 2.0)", "gradx.polynomial_schedule(0.1, 0.0, 2.0, 100)", SAME),
    Peer(
        "CosineAnnealingLR(optimizer, 100, 0.01)",
        "gradx.cosine_decay_schedule(0.1, 100, alpha=0.1)",
        f"{SAME} up to T_max; behind it torch's rises again",
    ),
    Peer(
        "CosineAnnealingWarmRestarts(optimizer, 10)",
        "gradx.cosine_restarts_schedule(0.1, 10, 5)",
        f"{SAME}; the number of cycles is said, and the rate stays low behind the last",
    ),
    Peer("OneCycleLR(optimizer, 0.1, 100)", "gradx.cosine_onecycle_schedule(100, 0.1)", f"{SAME}, with another count of the turns: torch's fall on step - 1"),  # fmt: skip
    Peer(
        'OneCycleLR(optimizer, 0.1, 100, anneal_strategy="linear", three_phase=True)',
        "gradx.linear_onecycle_schedule(100, 0.1)",
        SAME,
    ),
    Peer("CyclicLR(optimizer, 0.01, 0.1, 20, 20)", "gradx.cyclic_schedule(0.01, 0.1, 20, 20)", SAME),
    Peer(
        "SequentialLR(optimizer, [a, b], [10])",
        "gradx.join_schedules([gradx.linear_schedule(0.01, 0.1, 10), gradx.cosine_decay_schedule(0.1, 90)], [10])",
        SAME,
    ),
    Peer(
        "ChainedScheduler([a, b])",
        "gradx.linear_schedule(0.1, 1.0, 10) * gradx.exponential_decay(0.1, 1, 0.95)",
        f"{SAME}: schedules are multiplied like numbers",
    ),
    Peer("LambdaLR(optimizer, f)", "gradx.sgd(lambda step: 0.1 * 0.95**step)", "any function of the step, where a number is"),
    Peer(
        "MultiplicativeLR(optimizer, f)",
        "gradx.exponential_decay(0.1, 1, 0.95)",
        "for a constant factor; a factor that changes is a function of the step, as for LambdaLR",
    ),
    Peer(
        "ReduceLROnPlateau(optimizer, patience=9)",
        "gradx.chain(gradx.sgd(0.1), gradx.reduce_on_plateau(patience=10))",
        f"{SAME}; it is told the loss: `tx.update(grads, state, params, value=loss)`; patience is one more",
    ),
    Peer(
        "swa_utils.AveragedModel(model) and SWALR",
        "gradx.average_params(gradx.sgd(0.1), None, start=100)",
        "the average is `gradx.eval_params(state, params)`; the rate is a schedule",
    ),
]  # fmt: skip
TORCH_OTHERS = [
    Peer("clip_grad_norm_(parameters, 1.0)", "gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(1e-3))", "a part of the optimizer: no line in the loop"),  # fmt: skip
    Peer("clip_grad_value_(parameters, 0.5)", "gradx.chain(gradx.clip(0.5), gradx.adamw(1e-3))", "the same"),
    Peer("optimizer.zero_grad()", "", "nothing: `jax.grad` returns a fresh gradient, nothing is gathered"),
    Peer("loss.backward(); optimizer.step()", "", "`grads = jax.grad(loss)(params)`, then `tx.update` and `gradx.apply_updates`"),  # fmt: skip
    Peer("param_groups", 'gradx.partition({"body": gradx.adamw(1e-4), "head": gradx.adamw(1e-3)}, label)', "`label` says which parameter is of which group: [layer-wise rates](../howto/layerwise.md)"),  # fmt: skip
    Peer("requires_grad_(False)", 'gradx.freeze(mask)', "[freeze](../howto/freeze.md)"),
    Peer("GradScaler()", "gradx.dynamic_loss_scale(gradx.adamw(1e-3))", "for float16; [bfloat16](../howto/bfloat16.md) needs none"),  # fmt: skip
    Peer('group["lr"] = 1e-4', "gradx.inject_hyperparams(gradx.adamw)(1e-3)", "then `gradx.set_hyperparams(state, learning_rate=1e-4)`: [change the rate](../howto/change-rate.md)"),  # fmt: skip
    Peer("state_dict(), load_state_dict()", "", "the state is a pytree of arrays: [checkpoint and resume](../howto/checkpoint.md)"),  # fmt: skip
]
KERAS_OPTIMIZERS = [
    Peer("SGD(0.01)", "gradx.sgd(0.01)"),
    Peer("SGD(0.01, momentum=0.9)", "gradx.sgd(0.01, momentum=0.9)", "the same at a constant rate: Keras multiplies by the rate before it sums"),  # fmt: skip
    Peer("RMSprop(1e-3)", "gradx.rmsprop(1e-3, decay=0.9, eps=1e-7)"),
    Peer("Adam(1e-3)", "gradx.adam(1e-3, eps=1e-7)", "Keras adds its epsilon before the bias correction, a difference for tiny gradients only"),  # fmt: skip
    Peer("AdamW(1e-3, weight_decay=0.004)", "gradx.adamw(1e-3, eps=1e-7, weight_decay=0.004)", "`exclude_from_weight_decay` is `mask`"),  # fmt: skip
    Peer("Nadam(1e-3)", "gradx.nadam(1e-3, eps=1e-7, momentum_decay=1.0)"),
    Peer("Adamax(1e-3)", "gradx.adamax(1e-3, eps=1e-7)"),
    Peer("Adagrad(1e-3)", "gradx.adagrad(1e-3, initial_accumulator_value=0.1, eps=1e-7)"),
    Peer("Adadelta(1e-3)", "gradx.adadelta(1e-3, rho=0.95, eps=1e-7)"),
    Peer("Adafactor(1e-3)", "gradx.adafactor(lambda step: jnp.minimum(1e-3, (step + 1) ** -0.5), 1, last_axes=True)", "as torch's"),  # fmt: skip
    Peer("Lion(1e-3)", "gradx.lion(1e-3, weight_decay=0.0)", "the default decay here is 1e-3"),
    Peer("Lamb(1e-3)", "gradx.lamb(1e-3, eps=1e-7)"),
    Peer("Muon(1e-3)", "gradx.muon(1e-3)", "scales of the step differ: `shape_scaling`"),
    Peer("Ftrl(1e-3)", "", "not here: for sparse linear models; `gradx.cocob` and `gradx.adagrad` are the nearest"),
    Peer("LossScaleOptimizer(inner)", "gradx.dynamic_loss_scale(gradx.adam(1e-3))", SAME),
]
KERAS_SCHEDULES = [
    Peer("CosineDecay(0.1, 1000, alpha=0.1)", "gradx.cosine_decay_schedule(0.1, 1000, alpha=0.1)"),
    Peer(
        "CosineDecay(0.0, 900, warmup_target=0.1, warmup_steps=100)",
        "gradx.warmup_cosine_decay_schedule(0.0, 0.1, 100, 1000)",
        "`decay_steps` counts the warmup here",
    ),
    Peer("CosineDecayRestarts(0.1, 100)", "gradx.cosine_restarts_schedule(0.1, 100, 5, period_factor=2)", "the number of cycles is said"),  # fmt: skip
    Peer("ExponentialDecay(0.1, 100, 0.96)", "gradx.exponential_decay(0.1, 100, 0.96)"),
    Peer("InverseTimeDecay(0.1, 100, 0.5)", "gradx.sgd(lambda step: 0.1 / (1 + 0.5 * step / 100))", "any function of the step"),
    Peer("PiecewiseConstantDecay([100, 200], [0.1, 0.05, 0.01])", "gradx.piecewise_constant_schedule(0.1, {100: 0.5, 200: 0.2})", "factors, not values"),  # fmt: skip
    Peer("PolynomialDecay(0.1, 100, 0.01, power=2.0)", "gradx.polynomial_schedule(0.1, 0.01, 2.0, 100)"),
]  # fmt: skip
KERAS_OTHERS = [
    Peer("clipnorm=1.0", "gradx.chain(gradx.clip_by_block_rms(1.0), gradx.adam(1e-3))", "Keras clips each variable's norm; here the root mean square of each"),  # fmt: skip
    Peer("global_clipnorm=1.0", "gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adam(1e-3))"),
    Peer("clipvalue=0.5", "gradx.chain(gradx.clip(0.5), gradx.adam(1e-3))"),
    Peer("use_ema=True, ema_momentum=0.99", "gradx.average_params(gradx.adam(1e-3), 0.99)", "weights for evaluation: `gradx.eval_params`"),  # fmt: skip
    Peer("gradient_accumulation_steps=4", "gradx.MultiSteps(gradx.adam(1e-3), 4)", "[accumulate](../howto/accumulate.md)"),
    Peer("loss_scale_factor=8.0", "gradx.static_loss_scale(gradx.adam(1e-3), 8.0)", SAME),
    Peer("optimizer.learning_rate = 1e-4", "gradx.inject_hyperparams(gradx.adam)(1e-3)", "[change the rate](../howto/change-rate.md)"),  # fmt: skip
    Peer("layer.trainable = False", "gradx.freeze(mask)", "[freeze](../howto/freeze.md)"),
]  # fmt: skip
ALL = [*TORCH_OPTIMIZERS, *TORCH_SCHEDULERS, *TORCH_OTHERS, *KERAS_OPTIMIZERS, *KERAS_SCHEDULES, *KERAS_OTHERS]


def in_optax(short: str) -> str | None:
    """Return the dotted name of Optax that has the same purpose and spelling, or None."""
    for module in ("optax", "optax.contrib", "optax.losses", "optax.schedules", "optax.tree"):
        if hasattr(importlib.import_module(f"gradx.compat.{module}"), short):
            return f"{module}.{short}"
    return None


def equivalents(short: str) -> list[tuple[str, str, str]]:
    """Return (library, call, note) for what other libraries have in the place of an optimizer."""
    found = []
    if (name := in_optax(short)) is not None:
        found.append(("Optax", f"{name}(...)", ""))
    for library, peers in (("torch.optim", TORCH_OPTIMIZERS), ("Keras", KERAS_OPTIMIZERS)):
        found += [(library, peer.theirs, f"here `{peer.ours}`" + (f"; {peer.note}" if peer.note else "")) for peer in peers if peer.uses(short)]
    return found
