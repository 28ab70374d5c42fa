"""`explain`: the rules that read a history and say what is wrong with the run, if anything is."""

from collections.abc import Iterator, Sequence

import numpy as np

from gradx.diagnose.findings import Finding, History, Losses, listed, read
from gradx.diagnose.statistics import StepStatistics

FEWEST_STEPS = 20
"""A loss that stands still or scatters for fewer steps says nothing yet."""
RISE = 0.5
"""A loss diverges when it climbs by half of its lowest level, and by half of what it had fallen before."""
CLEAR_OF_NOISE = 4.0
"""Such a rise must be so many deviations of the noise: chance gives one in 30 000."""
LEAP = 10.0
"""A step that moves the weights by ten times their own norm leaves nothing of them; 0.001 is usual."""
BURST = 5
FAR_ABOVE = 10.0
NOT_REGAINED = 0.5
"""A run broke down when the median loss of five steps was ten times the first, and its end is above half of that."""
SENSITIVITY = 100.0
UNEVEN = 20.0
"""Gradients explode in a layer where ‖g‖ ‖w‖ > 100 |loss|, so that 1% of its weights moves the loss by its own size,
and 20 times what it is in some other layer: at the first step, or at half of them.

In healthy networks the product is of the size of the loss, up to 30 times that at the first step of deep ones. Near a
loss of zero it is a hundred times as large in all layers alike, and nothing is wrong."""
NEARLY_FIT = 3.0
"""Where all layers have ‖g‖ ‖w‖ > 3 |loss|, little is left of the loss, and its scatter keeps nobody from learning."""
SPIKE = 100.0
"""Or when one step's gradient is a hundred times larger than all before it: the cliffs of recurrent networks."""
STEPS_BEFORE_SPIKE = 5
VANISHED = 1e-4
"""Gradients vanish in a layer that gets less than 1/10 000 of the largest layer's, in the geometric mean.

The layers of healthy networks differ by factors of up to 100; sigmoids lose a factor of 4 or more with each layer."""
DEAD_SHARE = 0.9
"""A module is dead when 90% of the entries of each of its leaves, the bias too, get a gradient of exactly zero.

A module of one leaf must be dead as a whole: an embedding has no gradient in the rows that a batch does not use."""
USUAL_RATIO = 1e-3
"""The usual ‖update‖ / ‖weight‖ of one step, in practice."""
SLOW_SHARE = 0.1
"""Steps are too small when the usual ones would promise ten times more, and they promise under 10% of the loss."""
STUCK_SHARE = 0.01
"""Slow is called stuck when not even a hundredth of the loss is gone."""
SAME_GRADIENT = 0.5
"""A gradient that fell under half of its start is on its way to a minimum: the steps do get somewhere."""
NOISY_SHARE = 0.2
"""Noise matters when it is a fifth of the loss, and larger than all that the run has won."""


def explain(history: StepStatistics, names: Sequence[str] | None = None) -> list[Finding]:
    """Name what is wrong with a run, in plain words with the numbers; an empty list when nothing is.

    Kinds: "non-finite", "diverging" (learning rate too high), "exploding gradients", "vanishing gradients", "dead",
    "stuck" and "slow" (learning rate too low), "noisy". The thresholds are the constants of this module, each with its
    reason. Layers are modules: `layers/0/kernel` and `layers/0/bias` are judged together.

    Args:
      history: statistics with the steps along the first axis, of one run: from `scan` or `stack`; concrete arrays.
      names: of the leaves, `gradx.tree.paths(params)`; numbers by default.

    Raises ValueError when the arrays are not [steps, layers], or the names are of another number of layers.

    >>> import gradx
    >>> params, tx, steps = {"w": 1.0}, gradx.sgd(1.5), []
    >>> state = tx.init(params)
    >>> for _ in range(20):
    ...     loss, grads = params["w"] ** 2, {"w": 2 * params["w"]}
    ...     updates, state = tx.update(grads, state, params)
    ...     steps.append(gradx.diagnose.step_statistics(grads, updates, params, loss))
    ...     params = gradx.apply_updates(params, updates)
    >>> [finding.kind for finding in gradx.diagnose.explain(gradx.diagnose.stack(steps), ["w"])]
    ['diverging']
    """
    if np.ndim(history.gradient_norm) != 2:
        shape = np.shape(history.gradient_norm)
        raise ValueError(f"explain: history must be [steps, layers] of one run, got {shape}; stack the steps first")
    steps, layers = np.shape(history.gradient_norm)
    names = [f"layer {i}" for i in range(layers)] if names is None else list(names)
    if len(names) != layers:
        raise ValueError(f"explain: {len(names)} names for {layers} layers; names must be tree.paths(params)")
    if history.loss is not None and np.shape(history.loss) != (steps,):
        raise ValueError(f"explain: loss must be [{steps}], one a step, got {np.shape(history.loss)}")
    broken = _first_non_finite(history)
    return list(_findings(history, names, broken, read(history, names, steps if broken is None else broken)))


def _findings(stats: StepStatistics, names: list[str], broken: int | None, seen: History) -> Iterator[Finding]:
    if broken is not None:
        yield _non_finite(stats, names, broken)
    losses = seen.losses
    diverging = _diverging(stats, losses) if losses else None
    if diverging:
        yield diverging
    if seen.steps == 0:
        return
    exploding = _exploding(seen)
    if exploding:
        yield exploding
    if diverging or (losses and losses.converged):  # what else is odd comes of it
        return
    vanishing = None if exploding else _vanishing(seen)
    yield from (finding for finding in (vanishing, _dead(seen)) if finding)
    if losses and len(losses.values) >= FEWEST_STEPS:
        finding = _too_slow(seen, losses) or _noisy(seen, losses)
        if finding:
            yield finding


def _first_non_finite(stats: StepStatistics) -> int | None:
    bad = np.any(np.asarray(stats.non_finite) > 0, 1)
    if stats.loss is not None:
        bad = bad | ~np.isfinite(np.asarray(stats.loss))
    return int(np.argmax(bad)) if bad.any() else None


def _non_finite(stats: StepStatistics, names: list[str], step: int) -> Finding:
    fractions = np.asarray(stats.non_finite, np.float64)[step]
    layers = tuple(name for name, fraction in zip(names, fractions, strict=True) if fraction > 0)
    if not layers:
        text = f"The loss is not finite at step {step}, while all gradients and weights are: look at the loss itself."
        return Finding("non-finite", (), step, {}, text)
    whose = [
        what
        for what, norm in (
            ("gradient", stats.gradient_norm),
            ("update", stats.update_norm),
            ("weight", stats.weight_norm),
        )
        if not np.all(np.isfinite(np.asarray(norm)[step]))
    ]
    worst = float(np.max(fractions))
    details = "; ".join(filter(None, (" and ".join(whose), f"up to {worst:.0%} of a layer")))
    text = (
        f"NaN or infinite entries from step {step} on, first in {listed(layers)} ({details}): look for a division, "
        "logarithm or root there, or skip such steps."
    )
    return Finding("non-finite", layers, step, {"fraction": worst}, text)


def _diverging(stats: StepStatistics, losses: Losses) -> Finding | None:
    end = float(losses.values[-1]) if losses.broken else losses.end
    fallen = losses.start - losses.lowest
    allowed = max(RISE * abs(losses.lowest), RISE * fallen, CLEAR_OF_NOISE * losses.noise)
    until = len(losses.values)
    ratio = _overall_ratio(np.asarray(stats.update_norm)[:until], np.asarray(stats.weight_norm)[:until])
    largest = float(np.max(ratio, initial=0.0))
    numbers = {"before": losses.lowest, "after": end, "update_ratio": float(np.median(ratio))}
    moved = f"a step moves the weights by {numbers['update_ratio']:.2g} of their norm. Lower the learning rate."
    if until > 1 and end - losses.lowest > allowed:
        after = losses.values[losses.lowest_step :]
        step = losses.lowest_step + int(np.argmax(after > losses.lowest + allowed))
        then = " and then stopped being finite" if losses.broken else ""
        text = f"Diverging since step {step}: the loss rose from {losses.lowest:.3g} to {end:.3g}{then}; {moved}"
        return Finding("diverging", (), step, numbers, text)
    if losses.broken and largest > LEAP:
        numbers["update_ratio"] = largest
        step = int(np.argmax(ratio))
        text = (
            f"Diverging: step {step} moved the weights by {largest:.2g} times their norm, and from step {until} on the "
            "loss is not finite. Lower the learning rate."
        )
        return Finding("diverging", (), step, numbers, text)
    return _broken_down(losses, ratio)


def _broken_down(losses: Losses, ratio: np.ndarray) -> Finding | None:
    """Find steps so large that what was there at the start is lost for good, though the loss is low again."""
    first = max(abs(float(losses.values[0])), losses.noise)
    if len(losses.values) < FEWEST_STEPS:
        return None
    bursts = np.median(np.lib.stride_tricks.sliding_window_view(losses.values, BURST), 1)
    if np.max(bursts) <= FAR_ABOVE * first or losses.end <= NOT_REGAINED * first:
        return None
    step = int(np.argmax(bursts > FAR_ABOVE * first))
    numbers = {"before": float(losses.values[0]), "after": float(np.max(bursts)), "update_ratio": float(np.max(ratio))}
    text = (
        f"Diverging: at step {step} the loss leapt from {numbers['before']:.3g} to {numbers['after']:.3g}, and it is "
        f"{losses.end:.3g} in the end; a step moved the weights by {numbers['update_ratio']:.2g} times their norm. "
        "Lower the learning rate."
    )
    return Finding("diverging", (), step, numbers, text)


def _exploding(seen: History) -> Finding | None:
    if seen.losses is None or not seen.steps:
        return _spike(seen)
    sensitivity = _sensitivity(seen, seen.losses)
    judged = np.stack([sensitivity[0], np.median(sensitivity, 0)])
    exploding = (judged > SENSITIVITY) & (judged > UNEVEN * _least(judged)[:, None])
    if not np.any(exploding):
        return _spike(seen)
    which, factor = np.any(exploding, axis=0), float(np.max(judged[exploding]))
    layers, step = _names(seen, which), int(np.argmax(np.any(sensitivity[:, which] > SENSITIVITY, 1)))
    text = (
        f"Gradients explode in {listed(layers)}: from step {step} on their norm times that of the weights is up to "
        f"{factor:.3g} times the loss, so that {100 / factor:.1g}% of the weights doubles it. Smaller initial weights, "
        "normalization or gradient clipping."
    )
    return Finding("exploding gradients", layers, step, {"sensitivity": factor}, text)


def _sensitivity(seen: History, losses: Losses) -> np.ndarray:
    """Return ‖g‖ ‖w‖ over the largest loss so far, [steps, modules]: the part of the loss that the weights decide."""
    size = np.maximum.accumulate(np.abs(losses.values))[: seen.steps, None]
    return seen.gradient * seen.weight / np.where(size == 0, np.inf, size)


def _least(sensitivity: np.ndarray) -> np.ndarray:
    """Return the smallest of the modules that have a gradient at all, [steps]; 0 when there is none."""
    taking_part = sensitivity[:, np.any(sensitivity > 0, 0)]
    return np.min(taking_part, 1) if taking_part.size else np.zeros(len(sensitivity))


def _spike(seen: History) -> Finding | None:
    """Find the first step whose gradient is far larger than those of all steps before."""
    total = np.sqrt(np.sum(np.square(seen.gradient), 1))
    before = np.maximum.accumulate(total)[:-1]
    jump = np.divide(total[1:], before, out=np.zeros_like(before), where=before > 0)
    jump[: STEPS_BEFORE_SPIKE - 1] = 0
    if np.max(jump, initial=0.0) <= SPIKE:
        return None
    step = int(np.argmax(jump > SPIKE)) + 1
    layers = _names(seen, seen.gradient[step] > SPIKE * before[step - 1] / np.sqrt(len(seen.names)))
    numbers = {"norm": float(total[step]), "before": float(before[step - 1])}
    text = (
        f"Gradients explode at step {step} in {listed(layers)}: norm {total[step]:.3g}, after at most "
        f"{before[step - 1]:.3g} in all steps before. Gradient clipping, or a lower learning rate."
    )
    return Finding("exploding gradients", layers, step, numbers, text)


def _vanishing(seen: History) -> Finding | None:
    largest = np.max(seen.gradient, 1, initial=0.0)
    alive = largest > 0  # a step without any gradient compares nothing
    if not alive.any():
        return None
    share = seen.gradient[alive] / largest[alive, None]
    steps = np.flatnonzero(alive)
    has_gradient = np.any(share > 0, 0)
    with np.errstate(divide="ignore"):
        mean = np.exp(np.mean(np.log(np.maximum(share, np.finfo(np.float32).tiny)), 0))
    vanished = has_gradient & (mean < VANISHED)
    if not vanished.any():
        return None
    layers, smallest = _names(seen, vanished), float(np.min(mean[vanished]))
    step = int(steps[np.argmax(np.any(share[:, vanished] < VANISHED, 1))])
    top = seen.names[int(np.argmax(np.median(share, 0)))]
    text = (
        f"Gradients vanish in {listed(layers)}: down to {smallest:.1g} of the norm in {top}, on average. Larger "
        "initial weights, ReLU-like activations, normalization or residual connections."
    )
    return Finding("vanishing gradients", layers, step, {"share": smallest}, text)


def _dead(seen: History) -> Finding | None:
    needed = np.where(seen.leaves > 1, DEAD_SHARE, 1.0)
    late = np.median(seen.dead[seen.steps // 2 :], 0)
    dead = (seen.leaves > 0) & (late >= needed)
    if not dead.any():
        return None
    layers, fraction = _names(seen, dead), float(np.max(late[dead]))
    step = int(np.argmax(np.any(seen.dead[:, dead] >= needed[dead], 1)))
    text = (
        f"Dead since step {step}: {fraction:.0%} of the gradient of {listed(layers)} is exactly zero. Units that never "
        "fire: a lower learning rate, a smaller negative bias, or leaky activations; or nothing reaches the loss."
    )
    return Finding("dead", layers, step, {"fraction": fraction}, text)


def _too_slow(seen: History, losses: Losses) -> Finding | None:
    """Find steps so small that, even if all went straight downhill, they could not have won much of the loss.

    The steps promise Σ ‖g‖ ‖u‖ at most; usual ones would promise Σ ‖g‖ ‖w‖ / 1000. Weights that started at zero have
    no norm to go by.
    """
    promised = float(np.sum(seen.gradient * seen.update))
    usual = USUAL_RATIO * float(np.sum(seen.gradient * seen.weight))
    level = abs(losses.start)
    made_by_steps = np.sum(_total(seen.update)) > 0.5 * _total(seen.weight)[-1]
    reachable = made_by_steps or (usual > SLOW_SHARE * level and promised < SLOW_SHARE * usual)
    gradient = _total(seen.gradient)
    quarter = max(1, seen.steps // 4)
    same = np.median(gradient[-quarter:]) > SAME_GRADIENT * np.median(gradient[:quarter])
    if not (same and reachable and max(promised, losses.drop) < SLOW_SHARE * level):
        return None
    won = losses.drop / level
    kind = "stuck" if max(won, promised / level) < STUCK_SHARE else "slow"
    ratio = float(np.median(_overall_ratio(seen.update, seen.weight)))
    numbers = {"start": losses.start, "end": losses.end, "update_ratio": ratio}
    text = (
        f"{kind.capitalize()}: in {seen.steps} steps the loss went from {losses.start:.4g} to {losses.end:.4g}, while "
        f"the gradient stayed as large; a step moves the weights by {ratio:.1g} of their norm, where {USUAL_RATIO:g} "
        "is usual. Raise the learning rate."
    )
    return Finding(kind, (), 0, numbers, text)


def _noisy(seen: History, losses: Losses) -> Finding | None:
    level = max(abs(losses.end), abs(losses.start))
    nearly_fit = np.median(_least(_sensitivity(seen, losses))) > NEARLY_FIT
    if nearly_fit or losses.noise <= max(NOISY_SHARE * level, losses.drop):
        return None
    text = (
        f"Noisy: the loss scatters by {losses.noise:.3g} from step to step, and went from {losses.start:.3g} to "
        f"{losses.end:.3g} in all. Larger or accumulated batches, or a lower learning rate."
    )
    return Finding("noisy", (), 0, {"noise": losses.noise, "start": losses.start, "end": losses.end}, text)


def _names(seen: History, chosen: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, yes in zip(seen.names, chosen, strict=True) if yes)


def _total(norms: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum(np.square(norms), 1))


def _overall_ratio(update: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return ‖u‖ / ‖w‖ of all layers together, of those that are finite; 0 where there are no weights yet."""
    u, w = (_total(np.nan_to_num(np.asarray(x, np.float64), posinf=0.0)) for x in (update, weight))
    return np.divide(u, w, out=np.zeros_like(u), where=w > 0)
