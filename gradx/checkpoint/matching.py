"""Find for each leaf of a new state the leaf of an old one that holds the same.

Parts are paired first: by name, then by what surrounds them, by the parameters that they see, by their arguments. A
leaf of a parameter then goes by its field and the parameter's name; what belongs to no parameter, a count say, follows
the part from which the parameters' leaves came, for it is their age.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator

from gradx.checkpoint.places import SCHEDULE_COUNT, Part, Place, Places
from gradx.checkpoint.report import Report

NAME, KIND, MEANING = range(3)
"""What two parts have in common; of the last two only a migration makes use."""

SAME_KIND = {
    **dict.fromkeys(
        ("ScaleByAdamaxState", "ScaleByRadamState", "ScaleByYogiState", "ScaleByAdoptState"), "ScaleByAdamState"
    ),
    "InjectHyperparamsState": "InjectStatefulHyperparamsState",
    "MultiTransformState": "PartitionState",
}
"""Classes of gradx, by the class in which Optax keeps the same; looked at only where one side is Optax's."""

OTHER_MEANING = {
    "ScaleByAdamaxState.nu": "largest |g|",
    "ScaleByAdoptState.mu": "mean of scaled g",
    "ScaleByBeliefState.nu": "mean of |g - mu|²",
    "ScaleByNovogradState.mu": "sum of scaled g",
    "ScaleByNovogradState.nu": "mean of |g|² of an array",
    "ScaleBySM3State.mu": "sums of |g|² along axes",
    "ScaleBySM3State.nu": "mean of scaled g",
    "SophiaState.nu": "mean of the Hessian's diagonal",
    "ProdigyState.exp_avg": "mean of d · g",
    "ProdigyState.exp_avg_sq": "mean of d² · |g|²",
    "ProdigyState.grad_sum": "sum of weighted g",
    "DAdaptAdamWState.exp_avg": "mean of steps · g",
    "ScaleByAdanState.n": "mean of |g + b2 · change|²",
    "ScaleByAdanState.v": "mean of the change of g",
    "ScaleBySimplifiedAdEMAMixState.m": "sum of g",
    "ScaleByDistanceOverGradientsState.max_dist": "of each array",
    "ReduceLROnPlateauState.count": "values in the mean",
    "ApplyEvery.count": "updates gathered",
}
"""Fields that mean something else than fields of the same name elsewhere."""

SQUARE = "nu"
"""The field that starts, where nothing holds it, at the mean square of its parameter's `mu`: with the old count, zeros
would make the first steps many times too long."""
RESTARTS = {"nu_max"}
"""Fields that may start anew beside an old count."""


@dataclasses.dataclass
class Plan:
    """Which old leaf goes to which new one, by their numbers."""

    old: Places
    new: Places
    source: dict[int, int] = dataclasses.field(default_factory=dict)
    """From the number of a new leaf to that of the old one."""
    squares: set[int] = dataclasses.field(default_factory=set)
    """New leaves that start at the mean square of what they are given."""
    reasons: dict[int, str] = dataclasses.field(default_factory=dict)
    """Why a new leaf has no source, where there is more to say than that nothing was found."""

    def report(self) -> Report:
        """Say what goes where."""
        used = {i: n for n, i in self.source.items() if n not in self.squares}
        old, new = self.old.places, self.new.places
        matched = {
            new[n].name: old[i].name + (" (mean square)" if n in self.squares else "") for n, i in self.source.items()
        }
        left = {place.name: self._why_left(place) for i, place in enumerate(old) if i not in used}
        fresh = {place.name: self._why_new(n, place) for n, place in enumerate(new) if n not in self.source}
        changed = {
            new[n].name: (old[i].dtype, new[n].dtype) for n, i in self.source.items() if old[i].dtype != new[n].dtype
        }
        pairs = [(old[i].part, new[n].part) for n, i in self.source.items()]
        same = {b.path: (a.spelling, b.spelling) for a, b in pairs if a.name == b.name}
        changed |= {path: (before, now) for path, (before, now) in same.items() if before != now and before and now}
        return Report(dict(sorted(matched.items())), left, fresh, changed)

    def _why_new(self, n: int, place: Place) -> str:
        if n in self.reasons:
            return self.reasons[n]
        alike = [x for x in self.old.places if x.part.name == place.part.name]
        if not alike:
            return f"nothing of {place.part.name} was there"
        same = [x for x in alike if x.key == place.key]
        if not same:
            return (
                f"no {place.field} of '{place.parameter}' was there"
                if place.parameter
                else f"no {place.field} was there"
            )
        misfit = next((x for x in same if not fits(x, place)), None)
        return f"it was {misfit.type}, and is {place.type}" if misfit else "what was there went to another part"

    def _why_left(self, place: Place) -> str:
        alike = [x for x in self.new.places if x.part.name == place.part.name]
        if not alike:
            return f"there is no {place.part.name} here"
        same = [x for x in alike if x.key == place.key]
        if not same:
            return f"no {place.field} of '{place.parameter}' here" if place.parameter else f"no {place.field} here"
        misfit = next((x for x in same if not fits(place, x)), None)
        return f"it is {misfit.type} here, and was {place.type}" if misfit else "its place went to another part's"


def fits(old: Place, new: Place) -> bool:
    """Whether the old leaf can stand in the new one's place: the same shape, and a dtype that loses no more than digits."""
    return old.shape == new.shape and _sort(new.dtype) in (
        _sort(old.dtype),
        *["complex"] * (_sort(old.dtype) == "float"),
    )


def _sort(dtype: str) -> str:
    """Return what sort of number a dtype holds; another kind of random key is another sort."""
    return dtype if dtype.startswith("key") else re.match("[a-z]*", dtype.replace("bfloat", "float"))[0]


def match(old: Places, new: Places, loosely: bool) -> Plan:
    """Return which leaf of the old state goes where in the new one.

    Args:
      old: the places of the old state.
      new: those of the new one.
      loosely: whether parts of different names may be paired, by the class of their state and by what their fields
        mean: between two optimizers.
    """
    return _Match(old, new, loosely).made()


class _Match:
    """A plan in the making."""

    def __init__(self, old: Places, new: Places, loosely: bool) -> None:
        self.old, self.new, self.loosely = old, new, loosely
        self.plan = Plan(old, new)
        self.used: set[int] = set()
        self.origins: dict[Part, Counter] = {part: Counter() for part in new.parts}
        """For each new part how many leaves it was given, by level and old part."""
        self.served: dict[Part, list[frozenset]] = {}
        """The parameters under the new parts that an old one without any leaf of a parameter has served."""
        self.old_scopes, self.new_scopes = _scopes(old), _scopes(new)

    def made(self) -> Plan:
        """Make the plan."""
        for _, level, t, s in sorted(self._pairs(), key=lambda pair: pair[0]):
            new_part, old_part = self.new.parts[t], self.old.parts[s]
            if self.new.has_parameters(new_part):
                self._take_parameters(new_part, old_part, level)
            elif level != MEANING:
                self._pair_whole(new_part, old_part, level)
        undated = [part for part in self.new.parts if not self._take_own(part)]
        for part in self.new.parts:
            self._date(part, part in undated)
        return self.plan

    def _pairs(self) -> Iterator[tuple]:
        """Go through the pairs of parts that may belong together, each with what sorts it behind the better ones."""
        old_ranks, new_ranks = _ranks(self.old), _ranks(self.new)
        for t, new in enumerate(self.new.parts):
            for s, old in enumerate(self.old.parts):
                level = self._level(old, new)
                if level is None:
                    continue
                mine, theirs = self.new_scopes[new], self.old_scopes[old]
                shared = len(mine & theirs) / max(len(mine | theirs), 1)
                apart = len(set(old.path.split("/")) ^ set(new.path.split("/")))
                is_elsewhere = _unnumbered(old.path) != _unnumbered(new.path)
                differs, is_later = old.spelling != new.spelling, old_ranks[s] != new_ranks[t]
                order = (level, is_elsewhere, -shared, differs, is_later, old.path != new.path, apart, t, s)
                yield order, level, t, s

    def _level(self, old: Part, new: Part) -> int | None:
        if old.name == new.name:
            return NAME
        if not self.loosely:
            return None
        kinds = old.kind, new.kind
        if old.name == old.kind or new.name == new.kind:  # of another library
            kinds = SAME_KIND.get(old.kind, old.kind), SAME_KIND.get(new.kind, new.kind)
        elif kinds == ("ScheduledState", "ScheduledState"):
            return None
        return KIND if kinds[0] == kinds[1] and kinds[0].endswith("State") else MEANING

    def _take_parameters(self, new: Part, old: Part, level: int) -> None:
        """Give a part the leaves of parameters that another kept."""
        if level == MEANING and not self._means_the_same(old, new):
            return
        for key, n in self.new.of_part[new].items():
            field, parameter, inside = key
            if parameter is None or n in self.plan.source:
                continue
            i = self.old.of_part[old].get(key)
            is_square = i is None and level == MEANING and field == SQUARE
            if is_square:
                i = self.old.of_part[old].get(("mu", parameter, inside))
            if i is None or not fits(self.old.places[i], self.new.places[n]):
                continue
            if is_square:
                self.plan.squares.add(n)
            elif i in self.used:
                continue
            self.used |= set() if is_square else {i}
            self.plan.source[n] = i
            self.origins[new][level, old] += 1

    def _means_the_same(self, old: Part, new: Part) -> bool:
        """Whether a part can go on from what another kept: all that it needs is there, under the same name and meaning.

        Half of it would not do: moments share a count, and beside an old one a moment that starts at 0 is far too small.
        """
        theirs = {key[0] for key in self.old.of_part[old] if key[1] is not None}
        mine = {key[0] for key in self.new.of_part[new] if key[1] is not None}
        shared = {field for field in mine & theirs if meaning(old, field) == meaning(new, field)}
        own = {key: n for key, n in self.new.of_part[new].items() if key[1] is None and key[0] != SCHEDULE_COUNT}
        for key, n in own.items():
            i = self.old.of_part[old].get(key)
            if (
                i is None
                or not fits(self.old.places[i], self.new.places[n])
                or meaning(old, key[0]) != meaning(new, key[0])
            ):
                return False
        missing = mine - shared - RESTARTS
        is_square = missing == {SQUARE} and "mu" in shared and meaning(new, SQUARE) == SQUARE and SQUARE not in theirs
        return bool(shared) and (not missing or is_square)

    def _pair_whole(self, new: Part, old: Part, level: int) -> None:
        """Pair a part that keeps nothing of parameters with one like it, one to one where they see the same ones."""
        served, scope = self.served.setdefault(old, []), self.new_scopes[new]
        if self.origins[new] or self.old.has_parameters(old) or not self.old.of_part[old]:
            return
        if all(scope and other and not scope & other for other in served):
            served.append(scope)
            self.origins[new][level, old] += 1

    def _take_own(self, new: Part) -> bool:
        """Give a part what belongs to no parameter; return whether the age of what it keeps is known."""
        if not self.origins[new]:
            return True
        _, old = min(self.origins[new], key=lambda pair: (pair[0], -self.origins[new][pair]))
        taken, is_dated = {}, True
        for key, n in self.new.of_part[new].items():
            if key[1] is not None:
                continue
            i, place = self.old.of_part[old].get(key), self.new.places[n]
            if i is None:
                is_dated &= key[0] != "count"
            elif not fits(self.old.places[i], place):
                return self._start_anew(new, f"{place.field} was {self.old.places[i].type}, and is {place.type}")
            elif new.joint and place.shape and self.old.parameters != self.new.parameters:
                return self._start_anew(new, f"{place.field} is of all parameters, and they are others now")
            elif not (
                i in self.used and _sort(place.dtype) in ("uint", *[place.dtype] * place.dtype.startswith("key"))
            ):
                taken[n] = i  # a count may go on in several parts, a random key in one alone
        self.plan.source |= taken
        self.used |= set(taken.values())
        return is_dated or not self.new.has_parameters(new)

    def _start_anew(self, part: Part, reason: str) -> bool:
        for key, n in self.new.of_part[part].items():
            if key[0] != SCHEDULE_COUNT:
                self.plan.source.pop(n, None)
                self.plan.squares.discard(n)
                self.plan.reasons[n] = reason
        return True

    def _date(self, part: Part, is_undated: bool) -> None:
        """Let a schedule that is new go on at the step that others have reached, and a moment that had no count."""
        clocks = [
            n for key, n in self.new.of_part[part].items() if _is_clock(part, key) or (is_undated and key[0] == "count")
        ]
        for n in clocks:
            if n not in self.plan.source:
                found = self._step_around(part)
                if found is not None:
                    self.plan.source[n] = found
                elif is_undated:
                    self._start_anew(part, "no count says how many gradients it has seen")

    def _step_around(self, part: Part) -> int | None:
        """Return the old leaf that counts the updates at the place of a part: that of its nearest neighbour."""
        found = []
        for t, other in enumerate(self.new.parts):
            if other.within == part.within:
                counts = [n for key, n in self.new.of_part[other].items() if is_count(self.new, other, key)]
                known = [self.plan.source[n] for n in counts if n in self.plan.source]
                found += [(-_common(other.path, part.path), t, i) for i in known]
        if not found:
            for s, other in enumerate(self.old.parts):
                if _unnumbered(other.within) == _unnumbered(part.within):
                    counts = [i for key, i in self.old.of_part[other].items() if is_count(self.old, other, key)]
                    found += [(-_common(other.path, part.path), s, i) for i in counts]
        return min(found)[2] if found else None


def meaning(part: Part, field: str) -> str:
    """Return what a field of a part means: its name, unless it is one of those that mean something else."""
    return OTHER_MEANING.get(f"{part.kind}.{field}", field)


def _is_clock(part: Part, key: tuple) -> bool:
    """Whether a leaf tells schedules the step."""
    return key[0] == SCHEDULE_COUNT or (part.kind.startswith("Inject") and key[0].rpartition("/")[2] == "count")


def is_count(places: Places, part: Part, key: tuple) -> bool:
    """Whether a leaf counts all updates: one for schedules, or one that stands beside moments."""
    return _is_clock(part, key) or (
        key == ("count", None, "") and places.has_parameters(part) and meaning(part, "count") == "count"
    )


def _scopes(places: Places) -> dict[Part, frozenset[str]]:
    """Return for each part the parameters that it sees, as far as leaves tell: its own, or those around it."""
    below: dict[str, set[str]] = {}
    for place in places.places:
        if place.parameter is not None:
            for path in _upwards(place.part.path):
                below.setdefault(path, set()).add(place.parameter)
    return {
        part: frozenset(next((below[path] for path in _upwards(part.path) if path in below), ()))
        for part in places.parts
    }


def _ranks(places: Places) -> list[int]:
    """Return for each part how many like it come before."""
    seen: Counter = Counter()
    ranks = []
    for part in places.parts:
        alike = _unnumbered(part.path), part.spelling
        ranks.append(seen[alike])
        seen[alike] += 1
    return ranks


def _upwards(path: str) -> list[str]:
    segments = path.split("/")
    return ["/".join(segments[:i]) for i in range(len(segments), -1, -1)]


def _unnumbered(path: str) -> str:
    return re.sub("#[0-9]+", "", path)


def _common(path: str, other: str) -> int:
    """Return how many segments two paths have in common from the start."""
    pairs = list(zip(path.split("/"), other.split("/"), strict=False))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
