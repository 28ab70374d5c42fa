"""Every notebook runs, is what its text says, and shows what it would show today."""

import re
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ALL_OR_FIRST = [NOTEBOOKS[0], *(pytest.param(path, marks=pytest.mark.slow) for path in NOTEBOOKS[1:])]
LARGEST_KILOBYTES = 1000
MACHINE = re.compile(r"/(home|root|tmp|work|Users|usr)/|[A-Z]:\\\\|site-packages|https?://localhost")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The module `notebooks/run.py`; its kernels find this checkout's gradx, and nothing of the user's own settings.

    They find what an installation holds and no more: not `benchmarks`, which lies beside it.
    """
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "gradx").symlink_to(ROOT / "gradx")
    monkeypatch.syspath_prepend(str(ROOT / "notebooks"))
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel's inline pictures
    import run

    yield run
    del sys.modules["run"]


def _sources(notebook) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def _kinds(notebook) -> list[list[str]]:
    """Return what each cell puts out: printed text, values, pictures."""
    return [
        sorted({name for output in cell.get("outputs", []) for name in output.get("data", {output.get("name"): ""})})
        for cell in notebook.cells
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_in_colab_the_second_cell_installs_gradx(path, run, tmp_path):
    assert _sources(nbformat.read(path, as_version=4))[1] == ("code", run.COLAB), "python notebooks/run.py --colab"
    before = [file.read_bytes() for file in (path, path.with_suffix(".py"))]
    for file in (path, path.with_suffix(".py")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    run.add_colab(tmp_path / path.with_suffix(".py").name)  # it is there: nothing changes
    assert before == [(tmp_path / file.name).read_bytes() for file in (path, path.with_suffix(".py"))]


def test_there_are_notebooks_and_each_has_its_text(run):
    assert NOTEBOOKS
    assert [path.with_suffix(".py") for path in NOTEBOOKS] == run.texts()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_its_text(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.jupytext.formats == "ipynb,py:percent"
    assert _sources(notebook) == _sources(jupytext.read(path.with_suffix(".py")))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_small_and_says_nothing_of_a_machine(path):
    assert path.stat().st_size <= LARGEST_KILOBYTES * 1024
    notebook = nbformat.read(path, as_version=4)
    said = [
        str(output.get("text", "")) + str({**output.get("data", {}), "image/png": ""})
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    ]
    found = [text for text in said + [cell.source for cell in notebook.cells] if MACHINE.search(text)]
    assert not found


@pytest.mark.parametrize("path", ALL_OR_FIRST, ids=lambda path: path.stem)
def test_the_notebook_runs_and_shows_what_is_kept(path, run):
    fresh = run.execute(path.with_suffix(".py"))  # a cell that raises raises here
    kept = nbformat.read(path, as_version=4)
    assert _kinds(fresh) == _kinds(kept)
    assert "stderr" not in {kind for kinds in _kinds(fresh) for kind in kinds}
    assert any("image/png" in kinds for kinds in _kinds(fresh))


def test_a_kernel_starts_where_jupyter_starts_it_with_nothing_but_what_is_installed(run, tmp_path):
    text = tmp_path / "where.py"
    look = "[importlib.util.find_spec(name) is not None for name in ('gradx', 'benchmarks')]"
    text.write_text(f"# %%\nimport importlib.util\nfrom pathlib import Path\nprint(Path.cwd(), {look})\n")
    (cell,) = run.execute(text).cells
    assert cell.outputs[0]["text"] == f"{ROOT / 'notebooks'} [True, False]\n"


def test_a_cell_that_raises_is_noticed(run, tmp_path):
    text = tmp_path / "bad.py"
    text.write_text("# %%\nprint('before')\n\n# %%\nraise ValueError('on purpose')\n")
    with pytest.raises(run.CellExecutionError, match="on purpose"):
        run.execute(text)
