from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.results.compare.compare import Options
from moe_eval_plugin.results.compare.sweep import SweepComparison, SweepRun, compare_sweep
from moe_eval_plugin.results.compare.sweep_text import render_sweep
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.text import MINUS
from tests.publish.bundle.finished_sweeps import results_of, write_sweep
from tests.report.report_runs import right, wrong_every
from tests.results.compare.compared_runs import QUICK
from tests.results.timing.timed_files import around, timed_pass, write_timed_pass

if TYPE_CHECKING:
    from pathlib import Path

ANSWERS = {2: wrong_every(4), 8: right, 16: right, 4: wrong_every(20)}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over k 16, 8, 4 and 2, timed at two batch sizes."""
    folder = write_sweep(tmp_path_factory.mktemp("compared") / "sweep", ANSWERS)
    seconds = {f"k{k}": around(k / 8) for k in (8, 16, 4, 2)}
    for size in (4, 16):
        write_timed_pass(folder, timed_pass(seconds, batch_size=size))
    return folder


def compared(folder: Path, *names: str, margin: float = 0.3) -> SweepComparison:
    runs = [
        SweepRun(f"k{k}", read_run(results_of(folder, f"k{k}")), is_baseline=k == 8)
        for k in ANSWERS
    ]
    return compare_sweep("runs/demo", runs, names, options=Options(margin=margin, bootstrap=QUICK))


def test_each_setting_is_compared_with_the_baseline_from_large_k_to_small(sweep: Path) -> None:
    found = compared(sweep)
    assert list(found.settings) == ["k16", "k4", "k2"]
    assert set(found.baseline_of.values()) == {"k8"}
    verdicts = [task.scores[0].verdict for _, task in found.tasks]
    assert verdicts == ["within", "within", "too few questions"]
    # p-values are adjusted for all settings, and not for one comparison alone.
    assert found.settings["k2"].tasks[0].scores[0].difference.adjusted_p_value is not None
    assert compared(sweep, margin=0.1).tasks[2][1].scores[0].verdict == "loses more"


def test_the_table_has_a_row_for_each_setting_and_batch_size(sweep: Path) -> None:
    text = render_sweep(compared(sweep, margin=0.1))
    rows = [line for line in text.splitlines() if line.startswith(("setting", "k="))]
    assert [row.split()[:2] for row in rows] == [
        ["setting", "batch"],
        *([f"k={k}", size] for k in (8, 16, 4, 2) for size in ("4", "16")),
    ]
    assert rows[-1].endswith("  4.00× (4.00 to 4.00)")
    assert f"{MINUS}25.00 ({MINUS}" in rows[-1]
    assert "loses more" in rows[-1]
    assert "within 10 points" in rows[3]
    assert rows[1].split()[2:] == ["100.00%"]
    assert text.startswith("runs/demo: changes are in points, against k=8\neasy_vqa: 40 questions")
    assert text.count("Note: There are only 4 images") == 1
    assert max(map(len, rows)) <= 100


@pytest.mark.parametrize("name", ["k4", "k=4", "4"])
def test_settings_can_be_named(sweep: Path, name: str) -> None:
    assert list(compared(sweep, "k2", name).settings) == ["k4", "k2"]
    with pytest.raises(InvalidArgumentError, match=r"no such setting\. Use one of: k16, k4, k2"):
        compared(sweep, "k5")


def test_a_setting_is_compared_with_the_baseline_of_its_seed(tmp_path: Path) -> None:
    folder = write_sweep(
        tmp_path / "sweep", {8: right, 2: wrong_every(4)}, rates={8: [10, 10], 2: [20, 20]}
    )
    runs = [
        SweepRun(name, read_run(results_of(folder, name)), seed, is_baseline=k == 8)
        for seed in (0, 1)
        for k in (8, 2)
        for name in [f"k{k}-seed{seed}"]
    ]
    found = compare_sweep("x", runs, options=Options(bootstrap=QUICK))
    assert found.baseline_of == {"k2-seed0": "k8-seed0", "k2-seed1": "k8-seed1"}
    with pytest.raises(DataError, match="has no baseline and another setting that are done"):
        compare_sweep("x", runs[1::2])


def test_a_narrow_table_says_the_margin_below_it(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = render_sweep(compared(sweep, margin=0.3))
    assert max(map(len, text.splitlines())) <= 80
    rows = [line for line in text.splitlines() if line.startswith("k=")]
    assert len(rows) == 8
    assert rows[2].split()[7:9] == ["within", "0.50×"]
    assert "Margin: 30 points." in text
