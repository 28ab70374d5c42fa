"""Copy the kept tables into the README, between its markers: `python -m benchmarks.readme`."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLES = {
    "race": "benchmarks/results/summary.md",
    "pursuit": "benchmarks/results/language/pursuit.md",
    "matrix": "benchmarks/results/matrix.md",
    "sweep": "benchmarks/results/sweep.md",
    "cost": "benchmarks/results/cost_short.md",
    "speed": "benchmarks/results/speed_short.md",
}


def filled(readme: str) -> str:
    """Return the README with each `<!-- name --> ... <!-- end -->` holding the tables of its file."""
    for name, path in TABLES.items():
        rows = [line for line in (ROOT / path).read_text().splitlines() if line.startswith("|") or not line]
        table = "\n".join(rows).strip()
        marked = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        readme = re.sub(marked, lambda found, table=table: f"{found[1]}{table}\n{found[2]}", readme, flags=re.S)
    return readme


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    description = "Copy the kept tables of benchmarks/results into the README, between its markers."
    argparse.ArgumentParser(prog="python -m benchmarks.readme", description=description).parse_args(arguments)
    (ROOT / "README.md").write_text(filled((ROOT / "README.md").read_text()))


if __name__ == "__main__":
    main()
