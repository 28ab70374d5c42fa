"""Find for each leaf of a new state the leaf of an old one that holds the same.

Parts are paired first: by name, then by what surrounds them, by the parameters that they see, by their arguments. A
leaf of a parameter then goes by its field and the parameter's name; what belongs to no parameter, a count say, follows
the part from which the parameters' leaves came, for it is their age.
"""

import re
from collections import Counter
from collections.abc import Iterator

from gradx.checkpoint.meanings import RESTARTS, SAME_KIND, SQUARE, meaning
from gradx.checkpoint.places import SCHEDULE_COUNT, Part, Places
from gradx.checkpoint.plan import Plan, fits, sort_of

NAME, KIND, MEANING = range(3)
"""What two parts have in common; of the last two only a migration makes use."""


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
        for t, new in enumerate(self.new.parts):
            for s, old in enumerate(self.old.parts):
                level = self._level(old, new)
                if level is None:
                    continue
                mine, theirs = self.new_scopes[new], self.old_scopes[old]
                shared = len(mine & theirs) / max(len(mine | theirs), 1)
                apart = len(set(old.path.split("/")) ^ set(new.path.split("/")))
                is_elsewhere = _unnumbered(old.path) != _unnumbered(new.path)
                differs = old.spelling != new.spelling
                order = (level, is_elsewhere, -shared, differs, old.path != new.path, apart, t, s)
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

        Half of it would not do: moments share a count, and beside an old one a moment of 0 is far too small.
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
        is_empty = not self.old.of_part[old] or not self.new.of_part[new]
        if is_empty or self.origins[new] or self.old.has_parameters(old):
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
                i in self.used and sort_of(place.dtype) in ("uint", *[place.dtype] * place.dtype.startswith("key"))
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


def _upwards(path: str) -> list[str]:
    segments = path.split("/")
    return ["/".join(segments[:i]) for i in range(len(segments), -1, -1)]


def _unnumbered(path: str) -> str:
    return re.sub("#[0-9]+", "", path)


def _common(path: str, other: str) -> int:
    """Return how many segments two paths have in common from the start."""
    pairs = list(zip(path.split("/"), other.split("/"), strict=False))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
