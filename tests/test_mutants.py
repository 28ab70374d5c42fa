"""The tables of small faults fit the code; `make mutants` plants them."""

import dataclasses
import re
import shutil

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
    original = (mutants.ROOT / "gradx" / GOOD.file).read_text()
    (tmp_path / "gradx" / GOOD.file).parent.mkdir(parents=True)
    shutil.copy(mutants.ROOT / "gradx" / GOOD.file, tmp_path / "gradx" / GOOD.file)
    GOOD.plant(tmp_path)
    assert (mutants.ROOT / "gradx" / GOOD.file).read_text() == original
    assert (tmp_path / "gradx" / GOOD.file).read_text() == original.replace(GOOD.old, GOOD.new) != original


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


def test_mutants_are_chosen_by_file_or_name():
    assert mutants.chosen(ALL, []) == ALL
    assert {m.file for m in mutants.chosen(ALL, ["running.py:"])} == {"running.py"}
    assert [m.name for m in mutants.chosen(ALL, ["a total of 0"])] == ["a total of 0 divides"]
