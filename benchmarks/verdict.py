"""Whether one thing is better than others, as far as seeds and test set tell: one rule, both ways.

`judge` asks it of the textbook's choice in a race; `paired` and `decide` are the rule itself, for any paired values.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from benchmarks.results import Race
from benchmarks.roster import RECIPE
from benchmarks.task import Metric

CONFIDENCE = 0.95
"""Of each interval on its own: with six rivals one of them misses by chance in a race of four, with thirteen of two."""
YES, NO, CEILING, OPEN = "yes", "no", "ceiling reached", "not told apart"
ONE_SEED = "one seed"
RULE = """\
One rule says "yes" and "no". Of two optimizers the differences are taken seed by seed. One is better than the other if
their mean is larger than half the 95 % interval by Student's t and, where the metric is an accuracy, larger than the
standard error √(p(1 − p)/n) that a test set of n examples gives it, however many seeds there are; the larger of the two
is "needed". A difference has a plus where the textbook's choice is ahead.

- "yes": the textbook's choice is better than every other. "no": some other is better than it.
- "ceiling reached": it and at least one other have the best value that there is, with every seed.
- "not told apart": none of these. "one seed": no interval.
- "closest other" is the one on which the answer rests: the lowest ratio of difference and needed.
- Where textbooks name two, the one with the better mean stands for both.
- No rivals are a recipe that trained the same as another optimizer to the last bit, and an optimizer with another
  schedule, which the second table compares with its own.
"""


@dataclass(frozen=True)
class Comparison:
    """One optimizer against another over the seeds that both have, in units of the metric."""

    other: str
    difference: float
    """The mean over the seeds; positive where the first is better."""
    interval: float
    """Half the width of the interval at the level of CONFIDENCE, by Student's t."""
    margin: float
    """The standard error that a test set of so many examples gives an accuracy; 0 for other metrics."""

    @property
    def needed(self) -> float:
        """How large the difference must be to count."""
        return max(self.interval, self.margin)

    @property
    def ratio(self) -> float:
        """The difference in units of what is needed: above 1 the first is better, below -1 the other."""
        if self.difference == 0 or not math.isfinite(self.needed):
            return 0.0
        return self.difference / self.needed if self.needed else math.copysign(math.inf, self.difference)

    @property
    def answer(self) -> str:
        """Whether the first is better than the other."""
        return YES if self.ratio > 1 else NO if self.ratio < -1 else OPEN


@dataclass(frozen=True)
class Verdict:
    """What is said of one race."""

    choice: str
    """The textbook's, of several the one with the best mean."""
    answer: str
    comparisons: Sequence[Comparison]
    """With every rival."""
    deciding: Sequence[Comparison]
    """Those the answer rests on: all rivals at the ceiling, or the one with the lowest ratio."""


def judge(race: Race) -> Verdict | None:
    """Return the verdict on the textbook's choice; `None` where it did not race."""
    members = [name for name in (race.textbook, *race.alternatives) if name in race.optimizers]
    if not members:
        return None
    choice = members[0]
    for name in members:
        if race.metric.better(race.mean(name), race.mean(choice)):
            choice = name
    return _judge(race, choice, rivals(race, members))


def rivals(race: Race, members: Sequence[str]) -> list[str]:
    """Return whom the textbook's choices must beat."""
    others = [name for name in race.optimizers if name not in (*members, *race.schedules)]
    copy = any(_same(race, RECIPE, name) for name in race.optimizers if name != RECIPE)
    return [name for name in others if name != RECIPE or not copy]


def schedules(race: Race) -> list[tuple[str, Verdict]]:
    """Return each optimizer with another schedule, and whether it is better than the same one with its own."""
    raced = [(aside, base) for aside, base in race.schedules.items() if {aside, base} <= set(race.optimizers)]
    return [(base, _judge(race, aside, [base])) for aside, base in raced]


def compare(race: Race, first: str, other: str) -> Comparison:
    """Compare two optimizers over the seeds that both have; a seed that diverged is worse than any that did not."""
    mine, theirs = ({run.seed: run.points[-1].metric for run in race.of(name)} for name in (first, other))
    return paired(other, [(mine[seed], theirs[seed]) for seed in mine if seed in theirs], race.metric)


def paired(other: str, pairs: Sequence[tuple[float, float]], metric: Metric, margin: float | None = None) -> Comparison:
    """Compare what one and another reached, pair by pair; NaN, a training that diverged, is worse than any number.

    Args:
      other: the name of the second of each pair.
      pairs: one for each seed.
      metric: which way is better, and how many examples an accuracy rests on.
      margin: how exactly a value is known at best, where the metric does not tell.
    """
    sign = 1 if metric.higher_is_better else -1
    differences = [_difference(sign * a, sign * b) for a, b in pairs]
    if set(differences) in ({math.inf}, {-math.inf}) and len(pairs) > 1:
        return Comparison(other, differences[0], 0.0, 0.0)  # one always diverged, the other never
    if len(pairs) < 2 or not all(map(math.isfinite, differences)):
        mean = sum(differences) / len(pairs) if pairs else math.nan
        return Comparison(other, mean, math.inf, 0.0)
    error = statistics.stdev(differences) / math.sqrt(len(pairs))
    interval = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1)) * error
    if margin is None:
        margin = standard_error(statistics.mean(x for pair in pairs for x in pair), metric.examples)
    return Comparison(other, statistics.mean(differences), interval, margin)


def standard_error(accuracy: float, examples: int) -> float:
    """Return the standard error of an accuracy that was measured on so many examples; 0 without any."""
    p = min(max(accuracy, 0.0), 1.0)
    return math.sqrt(p * (1 - p) / examples) if examples else 0.0


def decide(comparisons: Sequence[Comparison], limit: Sequence[Comparison]) -> tuple[str, Sequence[Comparison]]:
    """Return the answer to all comparisons together, and those it rests on.

    Args:
      comparisons: one is better only if it is better than every other, and not if it is worse than any.
      limit: those of them in which both have the best value that there is, with every seed.
    """
    if not comparisons:
        return OPEN, ()
    closest = min(comparisons, key=lambda x: x.ratio)
    if limit and closest.answer != NO:
        return CEILING, limit
    return closest.answer, [closest]


def _judge(race: Race, choice: str, others: Sequence[str]) -> Verdict:
    comparisons = [compare(race, choice, name) for name in others]
    if len(race.of(choice)) < 2:
        return Verdict(choice, ONE_SEED, comparisons, comparisons[:0])
    limit = [x for x in comparisons if _at_ceiling(race, choice) and _at_ceiling(race, x.other)]
    answer, deciding = decide(comparisons, limit)
    return Verdict(choice, answer, comparisons, deciding)


def _difference(a: float, b: float) -> float:
    if math.isnan(a) or math.isnan(b):
        return 0.0 if math.isnan(a) and math.isnan(b) else (-math.inf if math.isnan(a) else math.inf)
    return a - b


def _at_ceiling(race: Race, name: str) -> bool:
    return all(map(race.metric.at_ceiling, race.ends(name)))


def _same(race: Race, first: str, other: str) -> bool:
    """Return whether two trained the same: by the same rates, seeds and losses, every look, to the last bit."""
    curves = [
        {run.seed: (run.rate, [(p.step, p.train_loss, p.metric) for p in run.points]) for run in race.of(name)}
        for name in (first, other)
    ]
    return bool(curves[0]) and curves[0] == curves[1]
