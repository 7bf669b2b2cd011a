from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.report.build import Options, build
from moe_eval_plugin.report.tables.ffn_k_table import make_ffn_k_table
from moe_eval_plugin.report.tables.table import make_table
from tests.report.report_runs import N_LAYERS, TASK, computed, write_run

if TYPE_CHECKING:
    from pathlib import Path

USE = {"selected": 2.0, "mean": 1.25, "p10": 0, "p90": 2, "shares": {"ffn": 0.625, "zero": 0.375}}
FIRST = "model.layers.0.mlp.experts"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the folder of a run of a model that also chooses experts without an FFN."""
    path = write_run(tmp_path / "run", 2)
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    routing = content["moe_eval"][TASK]["experts"]["routing"]
    routing["ffn_use"] = USE
    for layer in routing["layers"].values():
        layer["ffn_use"] = USE
    routing["layers"][FIRST]["ffn_use"] = {**USE, "shares": {"ffn": 0.5, "copy": 0.5}}
    path.write_text(json.dumps(content), "utf-8")
    return path.parent


def test_each_layer_has_a_row_and_each_kind_a_column(run: Path) -> None:
    table = make_ffn_k_table(computed(run))
    assert table is not None
    assert [column.heading for column in table.columns[2:]] == [
        *("Selected k", "FFN k", "p10", "p90", "FFN", "zero", "copy"),
    ]
    shown = [[cell.text for cell in row] for row in table.rows]
    assert len(shown) == 1 + N_LAYERS
    assert shown[0] == ["k=2", "all", "2.00", "1.25", "0", "2", "62.5%", "37.5%", ""]
    assert shown[1] == ["k=2", FIRST, "2.00", "1.25", "0", "2", "50.0%", "", "50.0%"]


def test_the_numbers_of_a_setting_have_it(run: Path) -> None:
    table = make_table([computed(run)])
    [position] = [n for n, c in enumerate(table.columns) if c.heading.startswith("FFN k")]
    assert table.rows[0][position].text == "1.25 (0 to 2)"


def test_a_model_whose_experts_all_compute_has_neither(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    numbers = computed(tmp_path)
    assert make_ffn_k_table(numbers) is None
    assert not [c for c in make_table([numbers]).columns if c.heading.startswith("FFN k")]


def test_the_page_shows_it_by_layer(run: Path) -> None:
    pytest.importorskip("altair", reason="the extra report is not installed")
    page = build([run], Options()).html
    assert 'id="ffn-k-1-1"' in page
    assert "FFN k: experts that compute an FFN" in page
