"""Execute the notebooks: each `NAME.py` is the text that people edit, and makes `NAME.ipynb` with its outputs.

python notebooks/run.py

`--colab` executes nothing: it puts the cell that installs gradx in Colab into every notebook that lacks it.
"""

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError as CellExecutionError

FOLDER = Path(__file__).parent
CELL_SECONDS = 300
COLAB = """\
import sys

if "google.colab" in sys.modules:  # there only; upload the wheel, which `python -m build` makes, beside this notebook
    from IPython import get_ipython

    get_ipython().run_line_magic("pip", "install --quiet gradx-*.whl flax matplotlib mlxtend scikit-learn")\
"""
"""The second cell of every notebook, behind its title."""


def texts() -> list[Path]:
    """Return the text form of every notebook."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def execute(text: Path) -> nbformat.NotebookNode:
    """Return the notebook of a text with its outputs; a cell that raises raises here."""
    notebook = jupytext.read(text)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext draws the ids at random: the file would change each time
    NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},  # where Jupyter starts a kernel, whatever its own folder is
    ).execute()
    return notebook


def add_colab(text: Path) -> None:
    """Put the cell for Colab behind the title of a notebook and of its text, if it is not there; outputs stay."""
    lines = text.read_text().split("\n# %%")
    if COLAB not in lines[2]:
        lines.insert(2, f"\n{COLAB}\n")
        text.write_text("\n# %%".join(lines))
    path = text.with_suffix(".ipynb")
    if not path.exists():
        return
    notebook = nbformat.read(path, as_version=4)
    if notebook.cells[1].source != COLAB:
        notebook.cells.insert(1, nbformat.v4.new_code_cell(COLAB))
        for number, cell in enumerate(notebook.cells):
            cell.id = f"cell-{number}"
        nbformat.write(notebook, path)


def main() -> int:
    """Execute all and write them, or add the cell for Colab."""
    for text in texts():
        if "--colab" in sys.argv[1:]:
            add_colab(text)
        else:
            nbformat.write(execute(text), text.with_suffix(".ipynb"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
