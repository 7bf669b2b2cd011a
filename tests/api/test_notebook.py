"""The notebook of the documentation runs, on the embedded model, and shows what it says."""

from __future__ import annotations

import re
from typing import Any

import nbformat
import pytest

from tests.api.notebook_runs import NOTEBOOK, executed

FEW = "QUESTIONS = 24\nSECONDS = 1"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return executed(tmp_path_factory.mktemp("notebook"), FEW)


def shown(notebook: Any, code: str) -> dict[str, Any]:
    """Return what the cell with this code shows, by kind."""
    (cell,) = [one for one in notebook.cells if code in one.source and one.cell_type == "code"]
    (output,) = [one for one in cell.outputs if one.output_type == "execute_result"]
    found: dict[str, Any] = output.data
    return found


def test_it_runs_and_shows_what_the_text_says(notebook: Any) -> None:
    assert "<table>" in shown(notebook, "moe.inspect")["text/html"]
    assert ", 4.0)" in shown(notebook, "k.observed")["text/plain"]
    sweep = shown(notebook, "moe.sweep(")
    assert "<td" in sweep["text/html"]
    assert sweep["text/plain"].startswith("runs/demo-easy_vqa-")
    assert "image/svg+xml" in shown(notebook, "sweep.plot()")
    assert "Smoke test" in shown(notebook, "sweep.recommend")["text/plain"]
    assert "report.html" in shown(notebook, "again.report")["text/plain"]


def test_what_is_stored_was_executed_and_names_no_machine() -> None:
    assert not re.search(r"[\"' (](/\w+){2,}", NOTEBOOK.read_text("utf-8"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
