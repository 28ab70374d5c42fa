"""What became of each number when a state was moved."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Report:
    """What was matched, left out and new when a state was loaded or migrated, by the leaves' names.

    >>> import gradx
    >>> params = {"w": 1.0}
    >>> saved = gradx.checkpoint.state_dict(tx := gradx.sgd(0.1, momentum=0.9), tx.init(params), params)
    >>> _, report = gradx.checkpoint.load_state_dict(gradx.chain(gradx.ema(0.9), tx), saved, params)
    >>> print(report)
    1 of 3 numbers and arrays matched
    new: ema.count, ema.ema:w
    """

    matched: dict[str, str]
    """For each leaf of the new state that was found: the leaf from which it came."""
    left_out: dict[str, str]
    """Each leaf of the old state that has no place in the new one, and why."""
    new: dict[str, str]
    """Each leaf of the new state that was not found and is as `init` makes it, and why."""
    changed: dict[str, tuple[str, str]]
    """What was matched though it is no longer the same, before and now: arguments of a part, dtype of a leaf."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out and nothing is new."""
        return not self.left_out and not self.new

    def __str__(self) -> str:
        """Say it in a few lines."""
        lines = [f"{len(self.matched)} of {len(self.matched) + len(self.new)} numbers and arrays matched"]
        lines += [
            f"{what}: {_listed(names)}" for what, names in (("left out", self.left_out), ("new", self.new)) if names
        ]
        lines += [f"changed: {name}: {before} -> {now}" for name, (before, now) in self.changed.items()]
        return "\n".join(lines)


def _listed(names: dict[str, str]) -> str:
    shown = list(names)[:8]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
