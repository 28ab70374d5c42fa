"""The course on optimizers, claim by claim: what is said, what was measured, whether it holds by one rule.

python -m benchmarks.claims
python -m benchmarks.claims --only momentum adam --seeds 3 --out out/claims

What is kept is replaced whole after each group, so Ctrl-C loses one group at most. `--only` measures some groups anew
and keeps the others.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import INTERRUPTED, catch_interrupts, course, pictures
from benchmarks.command import Parser, Refused, check_folder, positive, unknown
from benchmarks.course.claim import Group, Setup
from benchmarks.course.page import json_lines, page, picture
from benchmarks.results import computer, versions, write_whole

OUT = Path(__file__).parent / "results" / "claims"
KEPT, PAGE = "claims.json", "claims.md"
SEEDS = 5
WIDTH = 140
"""Of a line where there is no terminal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: measure, keep, write the page; return the exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    for name in args.only:
        if name not in course.GROUPS:
            parser.error(unknown("group", name, course.GROUPS))
    try:
        check_folder(args.out)
        read(args.out / KEPT)
    except Refused as problem:
        parser.error(str(problem))
    catch_interrupts()
    chosen = [name for name in course.GROUPS if name in args.only]
    setup = Setup(tuple(range(args.seeds)))
    try:
        for number, name in enumerate(chosen, 1):
            group = measure(name, setup, console, f"{number} of {len(chosen)}")
            write(read(args.out / KEPT) | {name: group}, args.out)  # as it is now: others may measure beside this
            pictures.save(picture(group), args.out / f"{name}.png")
    except KeyboardInterrupt:
        console.print("interrupted")
        return INTERRUPTED
    console.print(f"{PAGE}, {KEPT} and the pictures are in {args.out}", soft_wrap=True)
    return 0


def _parser() -> Parser:
    description = "Measure what a course says of optimizers, claim by claim; takes three minutes on two cores."
    parser = Parser(prog="python -m benchmarks.claims", description=description)
    only = f"the groups to measure, the others stay as they are kept; default: all of {', '.join(course.GROUPS)}"
    parser.add_argument("--only", nargs="+", default=list(course.GROUPS), metavar="NAME", help=only)
    parser.add_argument("--seeds", type=positive, default=SEEDS, metavar="N", help=f"how many seeds; default: {SEEDS}")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="for the page; default: %(default)s")
    return parser


def measure(name: str, setup: Setup, console: Console, place: str) -> Group:
    """Measure the claims of a group, and say what became of each."""
    module = course.load(name)
    claims, panels, began = [], [], time.perf_counter()
    console.print(f"{module.TITLE} ({place})", soft_wrap=True)
    with console.status("measuring"):
        for function in module.CLAIMS:
            claim, drawn = function(setup)
            claims.append(claim)
            panels += drawn
            passed = time.perf_counter() - began
            console.print(f"  {claim.verdict:<18}  {claim.said}  [{passed:.0f} s]", soft_wrap=True, markup=False)
    seconds = round(time.perf_counter() - began, 1)
    origin = {"versions": versions(), "platform": computer()}
    return Group(name, module.TITLE, claims, panels, len(setup.seeds), seconds, origin)


def read(path: Path) -> dict[str, Group]:
    """Return the groups that are kept; raise Refused, naming the file, where it holds something else."""
    if not path.exists():
        return {}
    try:
        groups = [Group.from_json(x) for x in json.loads(path.read_text(encoding="utf-8"))["groups"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise Refused(f"{path} holds no claims ({reason}); move it away") from None
    return {group.name: group for group in groups}


def write(kept: dict[str, Group], out: Path) -> None:
    """Write what is kept and its page."""
    groups = [kept[name] for name in course.GROUPS if name in kept]
    text = json.dumps({"groups": [group.as_json() for group in groups]}, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(out / KEPT, json_lines(text) + "\n")
    write_whole(out / PAGE, page(groups))


if __name__ == "__main__":
    sys.exit(main())
