"""Every schedule beside its formula in Python floats, what its docstring states, and its peers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradx
from gradx.scheduled import ScheduleValue


@dataclass(frozen=True, eq=False)
class Case:
    """One schedule with arguments."""

    name: str
    ours: ScheduleValue
    formula: Callable[[int], float]
    """The value at a step, from the definition."""
    stated: Mapping[int, float]
    """The values that the docstring states, step 0 and the last step among them."""
    last: int
    """The last step at which something happens, or a late one where there is none."""
    optax: Callable[[Any], Any] | None = None
    """From the module to Optax's schedule of the same definition."""
    torch: Callable[[Any, Any], Any] | None = None
    """From (torch.optim.lr_scheduler, optimizer) to the scheduler of the same definition."""
    base: float = 1.0
    """The learning rate of the optimizer that torch's scheduler is given."""
    torch_last: int | None = None
    """The last step up to which torch's is the same; `last` if not given."""
    rises_until: int = 0
    """Up to here it never falls, from here on it never rises, but at `jumps`."""
    jumps: tuple[int, ...] = ()
    """The steps at which it is not continuous."""
    ends: bool = True
    """Whether there is a last step, from which on the value stays."""

    def __str__(self) -> str:
        return self.name


def line(start: float, end: float, x: float) -> float:
    """Go from start to end as x goes from 0 to 1, and stay outside."""
    return start + (end - start) * min(max(x, 0.0), 1.0)


def bow(start: float, end: float, x: float, exponent: float = 1.0) -> float:
    """Go from start to end along half a cosine, raised to a power."""
    return end + (start - end) * ((1 + math.cos(math.pi * min(max(x, 0.0), 1.0))) / 2) ** exponent


def turning(turns: list[int], values: list[float], along: Callable) -> Callable[[int], float]:
    """Go through the values at the turns."""

    def at(n: int) -> float:
        for begin, end, start, stop in zip(turns, turns[1:], values, values[1:], strict=False):
            if n <= end:
                return along(start, stop, (n - begin) / (end - begin))
        return values[-1]

    return at


def restarts(n: int) -> float:
    """Return the cosine of 10, 20 and 40 steps, peaks 2, 1 and 0.5, floors a tenth of them."""
    for start, length, peak in ((0, 10, 2.0), (10, 20, 1.0), (30, 40, 0.5)):
        if n < start + length:
            return bow(peak, 0.1 * peak, (n - start) / length)
    return 0.05


def rise_fall(n: int, warmup: int, end: int, fall: Callable, init: float = 0.1, peak: float = 1.0, low: float = 0.01):
    """Go up a line and down by `fall`."""
    return line(init, peak, n / warmup) if n < warmup else fall(peak, low, (n - warmup) / (end - warmup))


def one_of(lr: Any, optimizer: Any, **kwargs: Any) -> Any:
    """Return torch's OneCycleLR whose turns, counted from 0 to total_steps - 1, fall on ours, from 0 to 40."""
    pct = (0.25 * 40 + 1) / 41
    return lr.OneCycleLR(
        optimizer, 2.0, total_steps=41, pct_start=pct, div_factor=20.0, final_div_factor=100.0, cycle_momentum=False,
        **kwargs,
    )  # fmt: skip


SGDR = [
    {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": 20, "end_value": 0.1},
    {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 4, "decay_steps": 30, "end_value": 0.0, "exponent": 2.0},
]


def sgdr(n: int) -> float:
    """Return both cycles of `SGDR`."""
    if n < 20:
        return rise_fall(n, 5, 20, bow, 0.0, 1.0, 0.1)
    n -= 20
    return rise_fall(n, 4, 30, lambda a, b, x: bow(a, b, x, 2.0), 0.1, 0.5, 0.0)


ONE_BOW = turning([0, 10, 40], [0.1, 2.0, 1e-3], bow)
ONE_LINE = turning([0, 10, 20, 40], [0.1, 2.0, 0.1, 1e-3], line)
STEPS = {3: 0.5, 10: 0.2, 20: 0.5}


def cyclic(n: int, scale: Callable[[int, int], float] = lambda cycle, n: 1.0) -> float:
    """Go up for 10 steps and down for 20, from 0.1; heights above it are `scale(cycle, n)`."""
    cycle, since = divmod(n, 30)
    return 0.1 + 0.9 * scale(cycle, n) * (since / 10 if since <= 10 else (30 - since) / 20)


CASES = [
    Case(
        "constant", gradx.constant_schedule(0.3), lambda n: 0.3, {0: 0.3, 50: 0.3}, 50,
        optax=lambda optax: optax.constant_schedule(0.3),
        torch=lambda lr, o: lr.ConstantLR(o, factor=1.0), base=0.3,
    ),
    Case(
        "linear", gradx.linear_schedule(1.0, 0.1, 30), lambda n: line(1.0, 0.1, n / 30), {0: 1.0, 30: 0.1, 31: 0.1}, 30,
        optax=lambda optax: optax.linear_schedule(1.0, 0.1, 30),
        torch=lambda lr, o: lr.LinearLR(o, 1.0, 0.1, total_iters=30),
    ),
    Case(
        "linear up, begun late", gradx.linear_schedule(-1.0, 0.5, 20, 10), lambda n: line(-1.0, 0.5, (n - 10) / 20),
        {0: -1.0, 10: -1.0, 30: 0.5, 99: 0.5}, 30, rises_until=99,
        optax=lambda optax: optax.linear_schedule(-1.0, 0.5, 20, 10),
    ),
    Case(
        "polynomial", gradx.polynomial_schedule(1.0, 0.1, 3.0, 30, 5),
        lambda n: 0.1 + 0.9 * (1 - line(0.0, 1.0, (n - 5) / 30)) ** 3, {0: 1.0, 5: 1.0, 35: 0.1, 36: 0.1}, 35,
        optax=lambda optax: optax.polynomial_schedule(1.0, 0.1, 3.0, 30, 5),
    ),
    Case(
        "polynomial, square root", gradx.polynomial_schedule(1.0, 0.0, 0.5, 30),
        lambda n: (1 - line(0.0, 1.0, n / 30)) ** 0.5, {0: 1.0, 30: 0.0, 31: 0.0}, 30,
        optax=lambda optax: optax.polynomial_schedule(1.0, 0.0, 0.5, 30),
        torch=lambda lr, o: lr.PolynomialLR(o, total_iters=30, power=0.5),
    ),
    Case(
        "cyclic", gradx.cyclic_schedule(0.1, 1.0, 10, 20), cyclic, {0: 0.1, 10: 1.0, 30: 0.1, 40: 1.0}, 100,
        torch=lambda lr, o: lr.CyclicLR(o, 0.1, 1.0, 10, 20, cycle_momentum=False), ends=False,
    ),
    Case(
        "cyclic, halved", gradx.cyclic_schedule(0.1, 1.0, 10, 20, "triangular2"),
        lambda n: cyclic(n, lambda cycle, n: 0.5**cycle), {0: 0.1, 10: 1.0, 30: 0.1, 40: 0.55}, 100,
        torch=lambda lr, o: lr.CyclicLR(o, 0.1, 1.0, 10, 20, "triangular2", cycle_momentum=False), ends=False,
    ),
    Case(
        "cyclic, exponential", gradx.cyclic_schedule(0.1, 1.0, 10, 20, "exp_range", 0.98),
        lambda n: cyclic(n, lambda cycle, n: 0.98**n), {0: 0.1, 30: 0.1, 60: 0.1}, 100,
        torch=lambda lr, o: lr.CyclicLR(o, 0.1, 1.0, 10, 20, "exp_range", 0.98, cycle_momentum=False), ends=False,
    ),
    Case(
        "exponential", gradx.exponential_decay(1.0, 10, 0.5), lambda n: 0.5 ** (n / 10), {0: 1.0, 10: 0.5, 40: 0.0625},
        40, optax=lambda optax: optax.exponential_decay(1.0, 10, 0.5),
        torch=lambda lr, o: lr.ExponentialLR(o, 0.5**0.1), ends=False,
    ),
    Case(
        "exponential, late, bounded", gradx.exponential_decay(1.0, 5, 0.5, 10, end_value=0.1),
        lambda n: max(0.1, 0.5 ** (max(n - 10, 0) / 5)), {0: 1.0, 10: 1.0, 15: 0.5, 60: 0.1}, 30,
        optax=lambda optax: optax.exponential_decay(1.0, 5, 0.5, 10, end_value=0.1),
    ),
    Case(
        "exponential growth in stairs, bounded",
        gradx.exponential_decay(0.1, 10, 3.0, staircase=True, end_value=2.0),
        lambda n: min(2.0, 0.1 * 3.0 ** (n // 10)), {0: 0.1, 9: 0.1, 10: 0.3, 60: 2.0}, 40, rises_until=99,
        jumps=(10, 20, 30), optax=lambda optax: optax.exponential_decay(0.1, 10, 3.0, staircase=True, end_value=2.0),
    ),
    Case(
        "step decay", gradx.step_decay_schedule(1.0, 7, 0.5), lambda n: 0.5 ** (n // 7), {0: 1.0, 6: 1.0, 7: 0.5}, 49,
        jumps=tuple(range(7, 99, 7)),
        optax=lambda optax: optax.exponential_decay(1.0, 7, 0.5, staircase=True),
        torch=lambda lr, o: lr.StepLR(o, 7, 0.5), ends=False,
    ),
    Case(
        "inverse square root", gradx.inverse_sqrt_schedule(1.0, 10, 0.1),
        lambda n: line(0.1, 1.0, n / 10) if n < 10 else math.sqrt(10 / n), {0: 0.1, 10: 1.0, 40: 0.5}, 60,
        rises_until=10, ends=False,
    ),
    Case(
        "piecewise constant", gradx.piecewise_constant_schedule(2.0, STEPS),
        lambda n: 2.0 * math.prod(scale for step, scale in STEPS.items() if n >= step),
        {0: 2.0, 2: 2.0, 3: 1.0, 20: 0.1}, 20, jumps=tuple(STEPS),
        optax=lambda optax: optax.piecewise_constant_schedule(2.0, STEPS),
    ),
    Case(
        "piecewise constant from 0", gradx.piecewise_constant_schedule(2.0, {4: 0.5, 0: 0.1}),
        lambda n: 0.2 if n < 4 else 0.1, {0: 0.2, 4: 0.1}, 4, jumps=(0, 4),
        optax=lambda optax: optax.piecewise_constant_schedule(2.0, {4: 0.5, 0: 0.1}),
    ),
    Case(
        "multi-step", gradx.multi_step_schedule(1.0, [5, 12, 13], 0.3),
        lambda n: 0.3 ** sum(n >= m for m in (5, 12, 13)), {0: 1.0, 4: 1.0, 5: 0.3, 13: 0.027, 50: 0.027}, 13,
        jumps=(5, 12, 13), torch=lambda lr, o: lr.MultiStepLR(o, [5, 12, 13], 0.3),
    ),
    Case(
        "piecewise linear", gradx.piecewise_interpolate_schedule("linear", 1.0, {10: 2.0, 30: 0.1}),
        turning([0, 10, 30], [1.0, 2.0, 0.2], line), {0: 1.0, 10: 2.0, 30: 0.2, 31: 0.2}, 30, rises_until=10,
        optax=lambda optax: optax.piecewise_interpolate_schedule("linear", 1.0, {10: 2.0, 30: 0.1}),
    ),
    Case(
        "piecewise cosine", gradx.piecewise_interpolate_schedule("cosine", 1.0, {30: 0.1, 10: 2.0}),
        turning([0, 10, 30], [1.0, 2.0, 0.2], bow), {0: 1.0, 10: 2.0, 30: 0.2, 31: 0.2}, 30, rises_until=10,
        optax=lambda optax: optax.piecewise_interpolate_schedule("cosine", 1.0, {10: 2.0, 30: 0.1}),
    ),
    Case(
        "joined",
        gradx.join_schedules([gradx.linear_schedule(0.0, 1.0, 8), gradx.constant_schedule(1.0),
                              gradx.cosine_decay_schedule(1.0, 20)], [8, 15]),
        lambda n: line(0.0, 1.0, n / 8) if n < 15 else bow(1.0, 0.0, (n - 15) / 20),
        {0: 0.0, 8: 1.0, 14: 1.0, 15: 1.0, 35: 0.0}, 35, rises_until=15,
        optax=lambda optax: optax.join_schedules(
            [optax.linear_schedule(0.0, 1.0, 8), optax.constant_schedule(1.0), optax.cosine_decay_schedule(1.0, 20)],
            [8, 15],
        ),
    ),
    Case(
        "joined at 0",
        gradx.join_schedules([gradx.constant_schedule(5.0), gradx.linear_schedule(1.0, 0.0, 10)], [0]),
        lambda n: line(1.0, 0.0, n / 10), {0: 1.0, 10: 0.0}, 10,
        optax=lambda optax: optax.join_schedules(
            [optax.constant_schedule(5.0), optax.linear_schedule(1.0, 0.0, 10)], [0]
        ),
    ),
    Case(
        "cosine", gradx.cosine_decay_schedule(2.0, 40, 0.1), lambda n: bow(2.0, 0.2, n / 40),
        {0: 2.0, 40: 0.2, 41: 0.2}, 40, optax=lambda optax: optax.cosine_decay_schedule(2.0, 40, 0.1),
        torch=lambda lr, o: lr.CosineAnnealingLR(o, 40, 0.2), base=2.0, torch_last=40,
    ),
    Case(
        "cosine, exponent", gradx.cosine_decay_schedule(2.0, 40, 0.1, 1.5), lambda n: bow(2.0, 0.2, n / 40, 1.5),
        {0: 2.0, 40: 0.2, 41: 0.2}, 40, optax=lambda optax: optax.cosine_decay_schedule(2.0, 40, 0.1, 1.5),
    ),
    Case(
        "cosine restarts", gradx.cosine_restarts_schedule(2.0, 10, 3, 2, 0.5, 0.1), restarts,
        {0: 2.0, 10: 1.0, 30: 0.5, 70: 0.05, 71: 0.05}, 70, jumps=(10, 30),
    ),
    Case(
        "cosine restarts, equal peaks", gradx.cosine_restarts_schedule(1.0, 12, 3),
        lambda n: bow(1.0, 0.0, (n % 12) / 12) if n < 36 else 0.0, {0: 1.0, 12: 1.0, 24: 1.0, 36: 0.0, 37: 0.0}, 36,
        jumps=(12, 24), torch=lambda lr, o: lr.CosineAnnealingWarmRestarts(o, 12), torch_last=35,
    ),
    Case(
        "sgdr", gradx.sgdr_schedule(SGDR), sgdr, {0: 0.0, 5: 1.0, 50: 0.0, 51: 0.0}, 50,
        optax=lambda optax: optax.sgdr_schedule(SGDR),
    ),
    Case(
        "warmup, constant", gradx.warmup_constant_schedule(0.1, 1.0, 10), lambda n: line(0.1, 1.0, n / 10),
        {0: 0.1, 10: 1.0, 11: 1.0}, 10, rises_until=99,
        optax=lambda optax: optax.schedules.warmup_constant_schedule(0.1, 1.0, 10),
    ),
    Case("no warmup, constant", gradx.warmup_constant_schedule(0.1, 1.0, 0), lambda n: 1.0, {0: 1.0, 1: 1.0}, 1),
    Case(
        "warmup, cosine", gradx.warmup_cosine_decay_schedule(0.1, 1.0, 10, 50, 0.01, 1.5),
        lambda n: rise_fall(n, 10, 50, lambda a, b, x: bow(a, b, x, 1.5)), {0: 0.1, 10: 1.0, 50: 0.01, 51: 0.01}, 50,
        rises_until=10, optax=lambda optax: optax.warmup_cosine_decay_schedule(0.1, 1.0, 10, 50, 0.01, 1.5),
    ),
    Case(
        "no warmup, cosine", gradx.warmup_cosine_decay_schedule(0.1, 1.0, 0, 50), lambda n: bow(1.0, 0.0, n / 50),
        {0: 1.0, 50: 0.0, 51: 0.0}, 50,
    ),
    Case(
        "warmup, linear", gradx.warmup_linear_decay_schedule(0.1, 1.0, 10, 50, 0.01),
        lambda n: rise_fall(n, 10, 50, line), {0: 0.1, 10: 1.0, 50: 0.01, 51: 0.01}, 50, rises_until=10,
    ),
    Case(
        "no warmup, linear", gradx.warmup_linear_decay_schedule(0.1, 1.0, 0, 50), lambda n: line(1.0, 0.0, n / 50),
        {0: 1.0, 50: 0.0, 51: 0.0}, 50,
    ),
    Case(
        "warmup, exponential", gradx.warmup_exponential_decay_schedule(0.1, 1.0, 10, 10, 0.5, 5, end_value=0.1),
        lambda n: line(0.1, 1.0, n / 10) if n < 10 else max(0.1, 0.5 ** (max(n - 15, 0) / 10)),
        {0: 0.1, 10: 1.0, 15: 1.0, 25: 0.5, 99: 0.1}, 60, rises_until=10,
        optax=lambda optax: optax.warmup_exponential_decay_schedule(0.1, 1.0, 10, 10, 0.5, 5, end_value=0.1),
    ),
    Case(
        "no warmup, exponential in stairs",
        gradx.warmup_exponential_decay_schedule(0.1, 1.0, 0, 10, 0.5, staircase=True), lambda n: 0.5 ** (n // 10),
        {0: 1.0, 9: 1.0, 10: 0.5}, 30, jumps=tuple(range(10, 99, 10)), ends=False,
    ),
    Case(
        "warmup, stable, decay", gradx.warmup_stable_decay_schedule(1.0, 10, 20, 30, 0.1, 0.01),
        turning([0, 10, 30, 60], [0.1, 1.0, 1.0, 0.01], line), {0: 0.1, 10: 1.0, 30: 1.0, 60: 0.01, 61: 0.01}, 60,
        rises_until=10,
    ),
    Case(
        "warmup, stable, cosine", gradx.warmup_stable_decay_schedule(1.0, 10, 20, 30, shape="cosine"),
        lambda n: line(0.0, 1.0, n / 10) if n < 30 else bow(1.0, 0.0, (n - 30) / 30),
        {0: 0.0, 10: 1.0, 30: 1.0, 60: 0.0, 61: 0.0}, 60, rises_until=10,
    ),
    Case(
        "warmup, stable, square root", gradx.warmup_stable_decay_schedule(1.0, 10, 20, 30, 0.1, 0.01, shape="sqrt"),
        lambda n: line(0.1, 1.0, n / 10) if n < 30 else line(1.0, 0.01, math.sqrt((n - 30) / 30)),
        {0: 0.1, 10: 1.0, 30: 1.0, 60: 0.01, 61: 0.01}, 60, rises_until=10,
    ),
    Case(
        "no warmup, stable, decay", gradx.warmup_stable_decay_schedule(1.0, 0, 20, 30, 0.1),
        turning([0, 20, 50], [1.0, 1.0, 0.0], line), {0: 1.0, 20: 1.0, 50: 0.0, 51: 0.0}, 50,
    ),
    Case(
        "linear one-cycle", gradx.linear_onecycle_schedule(40, 2.0, 0.25, 0.5, 20.0, 100.0), ONE_LINE,
        {0: 0.1, 10: 2.0, 20: 0.1, 40: 1e-3, 41: 1e-3}, 40, rises_until=10,
        optax=lambda optax: optax.linear_onecycle_schedule(40, 2.0, 0.25, 0.5, 20.0, 100.0),
        torch=lambda lr, o: one_of(lr, o, anneal_strategy="linear", three_phase=True), torch_last=40,
    ),
    Case(
        "cosine one-cycle", gradx.cosine_onecycle_schedule(40, 2.0, 0.25, 20.0, 100.0), ONE_BOW,
        {0: 0.1, 10: 2.0, 40: 1e-3, 41: 1e-3}, 40, rises_until=10,
        optax=lambda optax: optax.cosine_onecycle_schedule(40, 2.0, 0.25, 20.0, 100.0),
        torch=one_of, torch_last=40,
    ),
]  # fmt: skip


COMPOSED: dict[str, tuple[Any, Callable[[Any, Any], Any]]] = {
    "chained": (
        gradx.linear_schedule(0.2, 1.0, 15) * gradx.exponential_decay(1.0, 1, 0.95),
        lambda lr, o: lr.ChainedScheduler([lr.LinearLR(o, 0.2, 1.0, 15), lr.ExponentialLR(o, 0.95)]),
    ),
    "three chained": (
        gradx.polynomial_schedule(1.0, 0.0, 0.5, 90)
        * gradx.step_decay_schedule(1.0, 20, 0.5)
        * gradx.piecewise_constant_schedule(0.25, {5: 4.0}),
        lambda lr, o: lr.ChainedScheduler(
            [lr.PolynomialLR(o, 90, 0.5), lr.StepLR(o, 20, 0.5), lr.ConstantLR(o, 0.25, 5)]
        ),
    ),
    "one after the other": (
        gradx.join_schedules(
            [gradx.linear_schedule(0.1, 1.0, 10), gradx.exponential_decay(1.0, 1, 0.9)],
            [10],
        ),
        lambda lr, o: lr.SequentialLR(o, [lr.LinearLR(o, 0.1, 1.0, 10), lr.ExponentialLR(o, 0.9)], [10]),
    ),
}
"""Schedules made of schedules, beside torch's of torch's, which multiply the base rate of 1.

Torch's CosineAnnealingLR does not multiply: in a chain it is another curve.
"""
