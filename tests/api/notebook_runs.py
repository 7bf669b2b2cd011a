"""Execute the notebook of the documentation: for a test, or to store it with its outputs.

``python tests/api/notebook_runs.py`` executes it as it is and stores what it shows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "python-api.ipynb"
PARAMETERS = "parameters"
TIME_LIMIT_S = 3600


def executed(folder: Path, parameters: str | None = None) -> Any:
    """Execute the notebook in a folder and return it; ``parameters`` replace its cell of them."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if parameters is not None and PARAMETERS in cell.metadata.get("tags", []):
            cell.source = parameters
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=TIME_LIMIT_S, resources=resources).execute()
    return notebook


def store() -> None:
    """Execute the notebook and write it with its outputs, without progress bars and times."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(Path(folder))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    store()
