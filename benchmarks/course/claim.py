"""What a claim is: what is said, and the paired values on which one rule says whether it holds here.

The rule is that of the races, `benchmarks.verdict`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks import verdict as rule
from benchmarks.task import Metric

HOLDS, FAILS = "holds", "does not hold here"
WORDS = {rule.YES: HOLDS, rule.NO: FAILS}
"""A claim says that one thing is better than others; the other answers are called as in the races."""
VERDICTS = (HOLDS, FAILS, rule.OPEN, rule.CEILING)
RULE = """\
One rule says "holds" and "does not hold here"; it is that of the races (`benchmarks/verdict.py`). A claim says that one
thing is better than each of one or more others. The differences are taken seed by seed. One is better if their mean is
larger than half the 95 % interval by Student's t, and larger than what one value is worth at best: for an accuracy the
standard error √(p(1 − p)/n) of a test set of n examples, however many seeds there are; for steps to a target the
distance of two looks; for a width on a grid of rates its spacing. The larger of the two is "needed". A difference has a
plus where it speaks for the claim.

- "holds": better in every comparison. "does not hold here": worse in at least one.
- "ceiling reached": in none worse, and in at least one both have the best value that there is, with every seed.
- "not told apart": none of these. With one seed there is no interval, and nothing is told apart.
- A training that diverged is worse than any that did not; where only some seeds did, there is no interval.
"""
POINTS = 48
"""So many points of a curve are kept."""
DIGITS = 5
"""Significant ones, of each kept number."""
Values = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Setup:
    """How long and how often is trained."""

    seeds: tuple[int, ...]
    share: float = 1.0
    """Of the steps: less than 1 to try whether everything runs."""

    def steps(self, full: int) -> int:
        """Return how many steps are done where the whole program does `full`."""
        return max(2, round(self.share * full))


@dataclass(frozen=True)
class Contrast:
    """What the claim favours against another: one value of each for every seed."""

    quantity: str
    favoured: str
    mine: Values
    other: str
    theirs: Values
    higher_is_better: bool = False
    style: str = ".3g"
    examples: int = 0
    """Of an accuracy: how many the test set has."""
    margin: float | None = None
    """How exactly a value is known at best, where it is no accuracy."""
    ceiling: float | None = None
    """The best value that there is."""

    def __post_init__(self) -> None:
        for name in ("mine", "theirs"):
            object.__setattr__(self, name, rounded(getattr(self, name)))

    @property
    def metric(self) -> Metric:
        """What is compared, as the races have it."""
        return Metric(self.quantity, math.nan, self.higher_is_better, self.style, self.ceiling, self.examples)

    @property
    def comparison(self) -> rule.Comparison:
        """The difference, and how large it must be to count."""
        return rule.paired(self.other, list(zip(self.mine, self.theirs, strict=True)), self.metric, self.margin)

    @property
    def limited(self) -> bool:
        """Whether both have the best value that there is, with every seed."""
        return all(map(self.metric.at_ceiling, (*self.mine, *self.theirs)))


@dataclass(frozen=True)
class Panel:
    """A part of the group's picture: lines of one value for each seed and place."""

    title: str
    x: Any
    """The places, or those of each line by its name."""
    lines: Mapping[str, Any]
    """By name: numbers [seeds, places]."""
    xlabel: str = "step"
    log: str = ""
    """The logarithmic axes: "", "x", "y" or "xy"."""
    ylim: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        xs = self.x if isinstance(self.x, Mapping) else dict.fromkeys(self.lines, self.x)
        shown = {name: _thinned(len(xs[name])) for name in self.lines}
        object.__setattr__(self, "x", {name: rounded(np.asarray(xs[name], float)[i]) for name, i in shown.items()})
        thin = {name: [rounded(row[i]) for row in np.asarray(self.lines[name], float)] for name, i in shown.items()}
        object.__setattr__(self, "lines", thin)


@dataclass(frozen=True)
class Claim:
    """A claim and what was measured of it."""

    name: str
    said: str
    source: str
    here: str
    """What was measured."""
    contrasts: Sequence[Contrast]
    remark: str = ""
    """What a reader should know beside the numbers."""

    @property
    def verdict(self) -> str:
        """Whether it holds."""
        answer, _ = self.decision
        return WORDS.get(answer, answer)

    @property
    def decision(self) -> tuple[str, Sequence[rule.Comparison]]:
        """The answer in the words of the races, and the comparisons it rests on."""
        if min(len(x.mine) for x in self.contrasts) < 2:
            return rule.ONE_SEED, ()
        comparisons = [x.comparison for x in self.contrasts]
        limit = [x for x, contrast in zip(comparisons, self.contrasts, strict=True) if contrast.limited]
        return rule.decide(comparisons, limit)


@dataclass(frozen=True)
class Group:
    """The claims of one file, measured together."""

    name: str
    title: str
    claims: Sequence[Claim]
    panels: Sequence[Panel]
    seeds: int
    seconds: float
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Versions and the kind of machine."""

    def as_json(self) -> dict[str, Any]:
        """Return lists, dicts, strings and numbers; what is not finite is null."""
        return _plain(asdict(self))

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Group":
        """Return what was written."""
        claims = [
            Claim(**x | {"contrasts": [Contrast(**_numbers(y, "mine", "theirs")) for y in x["contrasts"]]})
            for x in kept["claims"]
        ]
        panels = [Panel(**_numbers(x, "x", "lines")) for x in kept["panels"]]
        return cls(**{**kept, "claims": claims, "panels": panels})


Measured = tuple[Sequence[Contrast], Sequence[Panel]]
Measure = Callable[[Setup], Measured]


def claim(said: str, source: str, remark: str = "") -> Callable[[Measure], Callable[[Setup], tuple]]:
    """Mark a function that measures a claim; its docstring says what is measured, and stands on the page.

    Args:
      said: the claim, as the ordinary course has it.
      source: where it stands.
      remark: what a reader should know beside the numbers.
    """

    def marked(measure: Measure) -> Callable[[Setup], tuple[Claim, Sequence[Panel]]]:
        def measured(setup: Setup) -> tuple[Claim, Sequence[Panel]]:
            contrasts, panels = measure(setup)
            here = " ".join((measure.__doc__ or "").split())
            return Claim(measure.__name__, said, source, here, contrasts, remark), panels

        measured.__name__, measured.__doc__ = measure.__name__, measure.__doc__
        return measured

    return marked


def rounded(values: Values) -> list[float]:
    """Return floats of a few digits; what is not finite is NaN, as of a training that diverged."""
    return [float(f"{x:.{DIGITS}g}") if math.isfinite(x) else math.nan for x in map(float, values)]


def _thinned(places: int) -> np.ndarray:
    """Return which places of a curve are kept: the first, the last, and others at equal distances."""
    return np.unique(np.linspace(0, places - 1, min(POINTS, places)).round().astype(int))


def _plain(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _plain(x) for name, x in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(x) for x in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def _numbers(kept: Mapping[str, Any], *names: str) -> dict[str, Any]:
    def read(tree: Any) -> Any:
        if isinstance(tree, Mapping):
            return {name: read(x) for name, x in tree.items()}
        return [read(x) for x in tree] if isinstance(tree, list) else math.nan if tree is None else tree

    return {name: read(x) if name in names else x for name, x in kept.items()}
