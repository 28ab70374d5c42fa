"""Execute the notebooks: each `NAME.py` is the text that people edit, and makes `NAME.ipynb` with its outputs.

python notebooks/run.py
"""

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError as CellExecutionError

FOLDER = Path(__file__).parent
CELL_SECONDS = 300


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


def main() -> int:
    """Execute all and write them."""
    for text in texts():
        nbformat.write(execute(text), text.with_suffix(".ipynb"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
