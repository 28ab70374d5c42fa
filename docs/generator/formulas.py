"""The update rules of the classics as they are printed, from `formulas.toml`, in TeX."""

import tomllib
from pathlib import Path

FORMULAS = {name: rule.strip() for name, rule in tomllib.loads(Path(__file__).with_suffix(".toml").read_text()).items()}
"""From optimizer to formula; the others are read from their docstrings."""
