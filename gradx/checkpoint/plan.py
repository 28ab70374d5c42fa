"""Which leaf of an old state goes where in a new one, and what is said of it."""

import dataclasses
import functools
import re

from gradx.checkpoint.places import Place, Places
from gradx.checkpoint.report import Report


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
        alike = self._old_by_name.get(place.part.name, {})
        if n in self.reasons or not alike:
            return self.reasons.get(n, f"nothing of {place.part.name} was there")
        if place.key not in alike:
            return f"no {_called(place)} was there"
        misfit = next((x for x in alike[place.key] if not fits(x, place)), None)
        return f"it was {misfit.type}, and is {place.type}" if misfit else "what was there went to another part"

    def _why_left(self, place: Place) -> str:
        alike = self._new_by_name.get(place.part.name, {})
        if not alike:
            return f"there is no {place.part.name} here"
        if place.key not in alike:
            return f"no {_called(place)} here"
        misfit = next((x for x in alike[place.key] if not fits(place, x)), None)
        return f"it is {misfit.type} here, and was {place.type}" if misfit else "its place went to another part's"

    @functools.cached_property
    def _old_by_name(self) -> dict[str, dict[tuple, list[Place]]]:
        return _by_name(self.old)

    @functools.cached_property
    def _new_by_name(self) -> dict[str, dict[tuple, list[Place]]]:
        return _by_name(self.new)


def _by_name(places: Places) -> dict[str, dict[tuple, list[Place]]]:
    """Return the leaves of all parts of a name, by their keys."""
    found: dict[str, dict[tuple, list[Place]]] = {}
    for place in places.places:
        found.setdefault(place.part.name, {}).setdefault(place.key, []).append(place)
    return found


def _called(place: Place) -> str:
    return place.field if place.parameter is None else f"{place.field} of '{place.parameter}'"


def fits(old: Place, new: Place) -> bool:
    """Whether the old leaf can stand in the new one's place: the same shape, a dtype that loses digits at most."""
    before, now = sort_of(old.dtype), sort_of(new.dtype)
    return old.shape == new.shape and (before == now or (before, now) == ("float", "complex"))


def sort_of(dtype: str) -> str:
    """Return what sort of number a dtype holds; another kind of random key is another sort."""
    return dtype if dtype.startswith("key") else re.sub("[0-9].*", "", dtype.replace("bfloat", "float"))
