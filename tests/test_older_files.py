"""Files of version 0.1 are read with the numbers that it gave: a run, a sweep and its bundle.

``expected.json`` has these numbers, as version 0.1 computed them from the same files.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from moe_eval_plugin.cli import main
from moe_eval_plugin.results.compare.compare import compare_runs
from moe_eval_plugin.results.files import find_run, find_runs
from moe_eval_plugin.results.score_facts import collect
from moe_eval_plugin.sweeps.manifest import load_manifest
from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
from moe_eval_plugin.sweeps.runner import open_manifest, pending
from moe_eval_plugin.sweeps.table import Table

FOLDER = Path(__file__).parent / "data" / "before_0_2"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text("utf-8"))
POINTS = (SweepPoint("k8", "8", is_baseline=True), SweepPoint("k2", "2"))


@pytest.mark.parametrize("name", ["card", "sweep"])
def test_every_fact_of_a_score_is_as_it_was(name: str) -> None:
    found = [{"k": one.k, **one.known()} for one in collect(find_runs(FOLDER / name))]
    expected = EXPECTED["facts"][name]
    assert [_of_0_1(*pair) for pair in zip(found, expected, strict=True)] == expected


def test_a_record_is_written_again_as_it_was() -> None:
    run = find_run(FOLDER / "card")
    stored = json.loads(run.path.read_text("utf-8"))["moe_eval"]["easy_vqa"]
    record = run.task("easy_vqa").record
    assert record is not None
    again = json.loads(json.dumps(record.to_dict()))
    assert again["speed"].pop("latency_from") == "preprocessing"
    assert again == stored


def test_a_comparison_has_the_same_numbers() -> None:
    runs = (find_run(FOLDER / "sweep" / name) for name in ("k8", "k2"))
    found = json.loads(json.dumps(compare_runs(*runs).to_dict()))
    (task,), (expected,) = found["tasks"], EXPECTED["comparison"]["tasks"]
    scores = zip(task["scores"], expected["scores"], strict=True)
    assert [_of_0_1(*pair) for pair in scores] == expected["scores"]
    assert task["changes"] == expected["changes"]
    assert task["settings"] == expected["settings"]
    assert task["equal_answers"] == expected["equal_answers"]


def test_the_table_of_a_sweep_has_the_same_numbers() -> None:
    manifest, table = load_manifest(FOLDER / "sweep"), Table()
    assert manifest is not None
    for name, entry in manifest.entries.items():
        results = manifest.results_path(name)
        assert results is not None
        table.add(entry.point, results)
    names = ("observed_num_experts_per_tok", "score", "difference", "samples_per_s")
    for row, expected in zip(table.rows, EXPECTED["sweep_table"], strict=True):
        assert {name: getattr(row, name) for name in names} == {
            name: expected[name] for name in names
        }


def test_a_finished_sweep_has_nothing_left_to_run(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER / "sweep", tmp_path / "sweep"))
    known = load_manifest(folder)
    assert known is not None
    plan = SweepPlan("moe_hf", "pretrained=demo", ("easy_vqa",), POINTS, 6, "2")
    manifest = open_manifest(folder, plan, known.settings, restart=False)
    assert pending(plan, manifest) == []
    one_more = SweepPlan(
        "moe_hf", "pretrained=demo", ("easy_vqa",), (*POINTS, SweepPoint("k1", "1")), 6, "2"
    )
    manifest = open_manifest(folder, one_more, known.settings, restart=False)
    assert [point.name for point in pending(one_more, manifest)] == ["k1"]


@pytest.mark.skipif(not find_spec("altair"), reason="the extra report is not installed")
def test_a_report_has_the_same_numbers() -> None:
    from moe_eval_plugin.report.build import Options, build

    report = build([FOLDER / "sweep"], Options())
    rows = list(csv.DictReader(io.StringIO(report.tables["table.csv"].decode())))
    for row, expected in zip(rows, EXPECTED["report"], strict=True):
        assert set(row) == set(expected)
        assert row["observed_num_experts_per_tok"] == expected["observed_num_experts_per_tok"]
        numbers = {name: float(value) for name, value in expected.items() if _is_number(value)}
        assert len(numbers) > len(expected) / 2
        found = {name: float(row[name]) for name in numbers}
        assert found == pytest.approx(numbers, rel=1e-12)


def test_a_bundle_is_whole_and_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", str(FOLDER / "sweep.tar.gz"), "--check-only"]) == 0
    shown = capsys.readouterr().out
    assert "moe-eval sweep --model moe_hf --model-args pretrained=demo" in shown


def _of_0_1(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Return what version 0.1 has too, as JSON data: later versions may say more."""
    stored: dict[str, Any] = json.loads(json.dumps({name: found.get(name) for name in expected}))
    return stored


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
