"""How far gradx is from its references: `python -m benchmarks.deviations functions`.

Each group is a function that returns rows; `main` writes them, sorted, as a Markdown table and as JSON to
`benchmarks/results/deviations_<group>.{md,json}`. Add a group by one such function and its line in `GROUPS`; the
class of its rows names the columns and says what the numbers are.
"""

import importlib
import importlib.metadata
import json
import pkgutil
import platform
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import tests.oracles
from benchmarks import deviations_optimizers
from benchmarks.command import Parser, Refused, check_folder, unknown
from tests.oracles import recorded
from tests.oracles.case import Case

RESULTS = Path(__file__).parent / "results"
SEEDS = range(3)
"""Each case is drawn this many times; the largest deviation is kept."""
VERSIONS_OF = ("gradx", "jax", "jaxlib", "numpy", "optax", "scipy")
DIGITS = 3
"""Of each deviation, in the JSON; the table shows two."""


@dataclass(frozen=True)
class Row:
    """The largest deviations of one function, each |x - y| / (1 + |y|) over all results, entries and draws."""

    HEADINGS: ClassVar[tuple[str, ...]] = ("function", "float64", "float32", "float32, Optax")
    EXPLAINED: ClassVar[str] = f"""\
Each number is the largest |x - y| / (1 + |y|) over all entries of all results, {len(SEEDS)} draws of the arguments a
row. Float64 and float32 are compared with the float64 reference of the same arguments (rounded to float32 first for the
second); the last column is float32 against Optax in float32, where the definition is the same."""

    name: str
    float64: float
    """Computed in float64, against the reference."""
    float32: float
    """Computed in float32, against the reference of the same rounded arguments."""
    float32_optax: float | None = None
    """Computed in float32, against Optax in float32; None without a peer of the same definition."""


def functions() -> list[Row]:
    """Plain functions: losses, projections, linear algebra and their neighbours"""
    return [case_row(name, case) for name, case in discovered_cases()]


GROUPS: dict[str, Callable[[], list]] = {"functions": functions, "optimizers": deviations_optimizers.rows}


def discovered_cases() -> Iterator[tuple[str, Case]]:
    """Every case of every module of `tests.oracles` that has a list `CASES`, as (`module: case`, case).

    A case that several modules list counts once, under the first of them by name.
    """
    seen = set()
    for module in oracle_modules():
        for case in getattr(module, "CASES", ()):
            if isinstance(case, Case) and id(case) not in seen:
                seen.add(id(case))
                yield f"{module.__name__.removeprefix(tests.oracles.__name__ + '.')}: {case.name}", case


def oracle_modules() -> Iterator[ModuleType]:
    for info in pkgutil.walk_packages(tests.oracles.__path__, tests.oracles.__name__ + "."):
        yield importlib.import_module(info.name)


def case_row(name: str, case: Case) -> Row:
    """Measure one case; an error in it says which case it was."""
    try:
        draws = [case.arguments(np.random.default_rng([seed, zlib.crc32(name.encode())])) for seed in SEEDS]
        rounded = [jax.tree.map(_round_to_float32, draw) for draw in draws]
        measured = [_deviations(case, *pair) for pair in zip(draws, rounded, strict=True)]
    except Exception as error:
        error.add_note(f"in the case {name!r}")
        raise
    double, single, peer = zip(*measured, strict=True)
    return Row(name, max(double), max(single), None if case.peer is None else max(peer))


def _deviations(case: Case, exact: tuple, rounded: tuple) -> tuple[float, float, float]:
    """Return the three columns; NaN for the last without a peer."""
    with jax.enable_x64(True):
        double = deviation(case.ours(*_to_jax(exact)), case.reference(*exact))
    single = case.ours(*_to_jax(rounded, jnp.float32))
    against_reference = deviation(single, case.reference(*rounded))
    if case.peer is None:
        return double, against_reference, float("nan")
    return double, against_reference, deviation(single, case.peer(*_to_jax(rounded, jnp.float32)))


def _round_to_float32(x: Any) -> Any:
    """Return a float64 array whose entries float32 can hold, so that the reference sees what our function sees."""
    return x.astype(np.float32).astype(np.float64) if _is_float64(x) else x


def _to_jax(arguments: tuple, real: Any = jnp.float64) -> tuple:
    def convert(x: Any) -> Any:
        if not isinstance(x, np.ndarray | np.generic):
            return x
        return jnp.asarray(x, real) if _is_float64(x) else jnp.asarray(x)

    return jax.tree.map(convert, arguments)


def _is_float64(x: Any) -> bool:
    return isinstance(x, np.ndarray | np.generic) and x.dtype == np.float64


def deviation(got: Any, wanted: Any) -> float:
    """Return the largest |got - wanted| / (1 + |wanted|); equal infinities and two NaN are no deviation."""
    got, wanted = jax.tree.leaves(got), jax.tree.leaves(wanted)
    if len(got) != len(wanted):
        raise ValueError(f"{len(got)} results, but the reference has {len(wanted)}")
    return max((_array_deviation(np.asarray(x), np.asarray(y)) for x, y in zip(got, wanted, strict=True)), default=0.0)


def _array_deviation(x: np.ndarray, y: np.ndarray) -> float:
    if x.shape != y.shape:
        raise ValueError(f"a result of shape {x.shape}, but the reference has {y.shape}")
    wide = np.complex128 if np.iscomplexobj(x) or np.iscomplexobj(y) else np.float64
    x, y = x.astype(wide), y.astype(wide)
    with np.errstate(invalid="ignore"):
        relative = np.abs(x - y) / (1 + np.abs(y))
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    relative = np.where(same, 0, np.where(np.isfinite(relative), relative, np.inf))
    return float(np.max(relative, initial=0))


def surroundings() -> dict[str, Any]:
    """Return what the numbers depend on, and nothing that names a machine; torch's is the version that was recorded."""
    versions = {name: importlib.metadata.version(name) for name in VERSIONS_OF if _installed(name)}
    versions["torch"] = recorded.torch_version()
    return {"platform": jax.default_backend(), "versions": {"python": platform.python_version(), **versions}}


def _installed(name: str) -> bool:
    return any(True for _ in importlib.metadata.Distribution.discover(name=name))


def write(group: str, rows: list, title: str, folder: Path) -> None:
    """Write `deviations_<group>.json` and `.md` to `folder`, rows sorted by name."""
    rows = sorted(rows, key=lambda row: row.name)
    if len({row.name for row in rows}) != len(rows):
        raise ValueError(f"{group}: two rows have the same name")
    around = surroundings()
    folder.mkdir(parents=True, exist_ok=True)
    record = {"group": group, **around, "rows": [_rounded(row) for row in rows]}
    (folder / f"deviations_{group}.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / f"deviations_{group}.md").write_text(markdown(group, rows, title, around))


def markdown(group: str, rows: list, title: str, around: dict[str, Any]) -> str:
    """Return the table with the words above it."""
    versions = ", ".join(f"{name} {version}" for name, version in around["versions"].items())
    kind = type(rows[0]) if rows else Row
    head = f"""# Largest deviations: {group}

{title}. Written by `python -m benchmarks.deviations {group}` on {around["platform"]}, {versions}.

{kind.EXPLAINED}

| {" | ".join(kind.HEADINGS)} |
|---|{"---:|" * (len(kind.HEADINGS) - 1)}
"""
    return head + "".join(_line(*asdict(row).values()) for row in rows)


def _line(name: str, *numbers: float | None) -> str:
    return f"| {name.replace('|', chr(92) + '|')} | {' | '.join(map(_cell, numbers))} |\n"


def _cell(number: float | None) -> str:
    return "" if number is None else f"{number:.1e}" if number else "0"


def _rounded(row: Row) -> dict[str, Any]:
    def short(x: Any) -> Any:
        return float(f"{x:.{DIGITS - 1}e}") if isinstance(x, float) and np.isfinite(x) else _spell(x)

    return {name: short(x) for name, x in asdict(row).items()}


def _spell(x: Any) -> Any:
    """JSON has no infinity."""
    return str(x) if isinstance(x, float) else x


def main(arguments: list[str] | None = None) -> None:
    parser = Parser(prog="python -m benchmarks.deviations", description=(__doc__ or "").splitlines()[0])
    groups = f"which tables to write: {', '.join(GROUPS)}; all, when none is named"
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=groups)
    parser.add_argument("--folder", type=Path, default=RESULTS, help="for the tables; default: benchmarks/results")
    chosen = parser.parse_args(arguments)
    for group in chosen.groups:
        if group not in GROUPS:
            parser.error(unknown("group", group, GROUPS))
    try:
        check_folder(chosen.folder)
    except Refused as problem:
        parser.error(str(problem))
    for group in chosen.groups or GROUPS:
        write(group, GROUPS[group](), GROUPS[group].__doc__ or group, chosen.folder)


if __name__ == "__main__":
    main()
