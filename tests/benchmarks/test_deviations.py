"""The generated table of deviations: what is measured, found and written."""

import json
import os
import socket
import types

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import deviations
from benchmarks.deviations import Row, case_row, deviation
from tests.oracles.case import Case

ROUNDING = 1e-15
FLOAT32_ROUNDING = 1e-6


def draw(rng):
    return rng.normal(size=5), rng.integers(0, 3, size=5)


def case(ours=lambda x, k: x * k, peer=None):
    return Case("product", ours, reference=lambda x, k: x * k, arguments=draw, peer=peer)


def test_deviation_is_relative_to_one_and_the_reference():
    assert deviation(np.array([1.0, 3.5]), np.array([1.0, 3.0])) == 0.5 / 4
    assert deviation((np.zeros(2), np.array(0.25)), (np.zeros(2), np.array(0.0))) == 0.25
    assert deviation(np.zeros((0, 2)), np.zeros((0, 2))) == 0
    assert deviation(np.array(1j), np.array(1 + 1j)) == pytest.approx(1 / (1 + 2**0.5))


def test_deviation_of_what_is_not_finite():
    odd = np.array([np.inf, -np.inf, np.nan])
    assert deviation(odd, odd.copy()) == 0
    for wrong in (np.array([1.0, -np.inf, np.nan]), -odd, np.array([np.inf, -np.inf, 0.0])):
        assert deviation(wrong, odd) == np.inf
        assert deviation(odd, wrong) == np.inf


def test_deviation_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"shape \(2,\), but the reference has \(1, 2\)"):
        deviation(np.zeros(2), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="1 results, but the reference has 2"):
        deviation(np.zeros(2), (np.zeros(2), np.zeros(2)))


def test_a_row_measures_each_precision_and_the_peer():
    row = case_row("a", case())
    assert row.float64 <= ROUNDING
    assert row.float32 <= FLOAT32_ROUNDING
    assert row.float32_optax is None
    assert case_row("a", case(peer=lambda x, k: x * k)).float32_optax == 0
    off = case_row("a", case(ours=lambda x, k: x * k + 0.5, peer=lambda x, k: x * k + 0.5))
    assert off.float64 > 0.1
    assert off.float32 > 0.1
    assert off.float32_optax == 0


def test_arguments_arrive_in_the_precision_of_the_column():
    seen = []

    def ours(x, k):
        seen.append((x.dtype, k.dtype.kind))
        return x * k

    case_row("a", case(ours))
    assert set(seen) == {(jnp.dtype(jnp.float64), "i"), (jnp.dtype(jnp.float32), "i")}


def test_rounding_the_arguments_is_no_deviation():
    """1e6 x sin(1e6 x) would differ wildly if the reference saw other arguments than our function."""

    def steep(x, k):
        return (x.astype("float64") if isinstance(x, np.ndarray) else x) * 2.0**20

    assert case_row("a", Case("steep", steep, steep, draw)).float32 == 0


def test_an_error_names_its_case():
    with pytest.raises(ZeroDivisionError) as caught:
        case_row("losses: broken", case(ours=lambda x, k: 1 / 0))
    assert caught.value.__notes__ == ["in the case 'losses: broken'"]


def test_a_case_that_two_modules_list_counts_once(monkeypatch):
    shared, own = case(), case()
    modules = []
    for name, cases in (("whole", [shared]), ("part", [shared, own])):
        module = types.ModuleType(f"tests.oracles.{name}")
        module.CASES = cases
        modules.append(module)
    monkeypatch.setattr(deviations, "oracle_modules", lambda: iter(modules))
    assert [name for name, _ in deviations.discovered_cases()] == ["whole: product", "part: product"]


def test_cases_are_found_by_their_module():
    names = [name for name, _ in deviations.discovered_cases()]
    assert "linalg: power_iteration value" in names
    assert len(set(names)) == len(names)
    assert not any(name.startswith("case:") for name in names)


def test_a_second_group_is_one_function(tmp_path, monkeypatch):
    def optimizers():
        """Optimizers, 50 steps"""
        return [Row("sgd", 0.0, 1.2345e-7), Row("adam", 1e-16, float("inf"), 2e-7)]

    monkeypatch.setitem(deviations.GROUPS, "optimizers", optimizers)
    deviations.main(["optimizers", "--folder", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "deviations_optimizers.json",
        "deviations_optimizers.md",
    ]
    record = json.loads((tmp_path / "deviations_optimizers.json").read_text())
    assert record["rows"] == [
        {"name": "adam", "float64": 1e-16, "float32": "inf", "float32_optax": 2e-7},
        {"name": "sgd", "float64": 0.0, "float32": 1.23e-7, "float32_optax": None},
    ]
    text = (tmp_path / "deviations_optimizers.md").read_text()
    assert text.endswith("| adam | 1.0e-16 | inf | 2.0e-07 |\n| sgd | 0 | 1.2e-07 |  |\n")
    assert "Optimizers, 50 steps. Written by `python -m benchmarks.deviations optimizers`" in text


def test_what_is_written_names_versions_and_no_machine(tmp_path, monkeypatch):
    monkeypatch.setitem(deviations.GROUPS, "functions", lambda: [case_row("a", case())])
    texts = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        deviations.main(["functions", "--folder", str(folder)])
        texts.append([path.read_text() for path in sorted(folder.iterdir())])
    assert texts[0] == texts[1]  # fixed seeds
    record = json.loads(texts[0][0])
    assert record["platform"] == "cpu"
    assert {"python", "jax", "jaxlib", "numpy", "optax"} <= set(record["versions"])
    for text in texts[0]:
        assert socket.gethostname() not in text
        assert os.getcwd() not in text


def test_two_rows_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="two rows have the same name"):
        deviations.write("functions", [Row("a", 0, 0), Row("a", 1, 1)], "title", tmp_path)


def test_the_kept_table_holds_what_its_cases_promise():
    """A row beyond its case's tolerance: a fault, or an old table (`python -m benchmarks.deviations functions`)."""
    kept = json.loads((deviations.RESULTS / "deviations_functions.json").read_text())["rows"]
    cases = dict(deviations.discovered_cases())
    known = [(row, cases[row["name"]]) for row in kept if row["name"] in cases]
    assert known
    beyond = [
        row for row, case in known if float(row["float64"]) > case.tolerance or float(row["float32"]) > case.tolerance32
    ]
    assert not beyond


def test_an_unknown_group_is_refused(capsys):
    with pytest.raises(SystemExit):
        deviations.main(["nothing"])
    assert "unknown group 'nothing'; choose from functions" in capsys.readouterr().err
