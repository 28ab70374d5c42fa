"""The tables of small faults fit the code; `make mutants` plants them."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from tests import mutants

ALL = mutants.read()
GOOD = ALL[0]


def test_every_text_stands_there_exactly_once():
    assert mutants.faults(ALL) == []
    assert len(ALL) >= 200


def test_every_excuse_has_a_reason():
    assert all(len(m.excuse.split()) > 4 for m in ALL if m.excuse)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"old": "no such text"}, "stands there 0 times"),
        ({"old": "return"}, r"stands there \d+ times"),
        ({"new": GOOD.old}, "changes nothing"),
        ({"tests": "tests/test_gone.py"}, "no file tests/test_gone.py"),
        ({"tests": "-k gone"}, "no file of tests"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_a_table_that_rots_is_found(change, message):
    (found,) = mutants.faults([dataclasses.replace(GOOD, **change)])
    assert re.search(message, found)


def test_a_fault_is_planted_in_the_copy_alone(tmp_path):
    for mutant in (GOOD, next(m for m in ALL if m.is_outside)):
        original = mutant.path().read_text()
        mutant.path(tmp_path).parent.mkdir(parents=True)
        shutil.copy(mutant.path(), mutant.path(tmp_path))
        mutant.plant(tmp_path)
        assert mutant.path().read_text() == original
        assert mutant.path(tmp_path).read_text() == original.replace(mutant.old, mutant.new) != original


def test_a_file_outside_of_gradx_is_named_from_the_root():
    inside, outside = (dataclasses.replace(GOOD, file=x).path(Path("/")) for x in ("running.py", "docs/generator/x.py"))
    assert (str(inside), str(outside)) == ("/gradx/running.py", "/docs/generator/x.py")
    assert all((mutants.ROOT / part).exists() for part in mutants.FOLDERS + mutants.FILES)


@pytest.mark.parametrize(
    ("said", "excuse", "fine"),
    [
        ("killed", "", True),
        ("out of time", "", True),
        ("survived", "", False),
        ("pytest: no tests ran", "", False),
        ("survived", "nothing differs", True),
        ("killed", "nothing differs", False),
    ],
)
def test_survivors_and_excuses_that_are_wrong_are_to_be_looked_at(said, excuse, fine):
    assert mutants.is_fine(dataclasses.replace(GOOD, excuse=excuse), said) == fine


def test_a_test_that_is_broken_without_the_fault_notices_nothing(tmp_path, monkeypatch):
    for part in mutants.FOLDERS:
        (tmp_path / part).mkdir()
    for part in mutants.FILES:
        (tmp_path / part).touch()
    (tmp_path / "gradx" / "rule.py").write_text("x = 1")
    (tmp_path / "tests" / "test_rule.py").write_text("from gradx.rule import x\n\n\ndef test():\n    assert x == 1")
    (tmp_path / "tests" / "test_gone.py").write_text("import gone")
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    plain, imports = mutants.Mutant("rule.py", "", "1", "2", ""), mutants.Mutant("rule.py", "", "x", "y", "")
    said = [
        mutants.outcome(dataclasses.replace(mutant, tests=f"tests/{test}.py"), 60)
        for mutant, test in ((plain, "test_rule"), (imports, "test_rule"), (plain, "test_gone"))
    ]
    assert said[:2] == ["killed", "killed"]
    assert "without the fault either" in said[2]


def test_mutants_are_chosen_by_file_or_name():
    assert mutants.chosen(ALL, []) == ALL
    assert {m.file for m in mutants.chosen(ALL, ["running.py:"])} == {"running.py"}
    assert [m.name for m in mutants.chosen(ALL, ["a total of 0"])] == ["a total of 0 divides"]
    assert {m.table for m in mutants.chosen(ALL, ["pictures"])} == {"pictures"}
    assert [m for m in ALL if m.table == "claims"] == [
        m for m in mutants.chosen(ALL, ["claims"]) if m.table == "claims"
    ]
