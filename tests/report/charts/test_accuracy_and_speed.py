"""The charts show each point that was measured, and can be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.read_series import read_series

pytest.importorskip("altair", reason="the extra report is not installed")

from moe_eval_plugin.report.charts.accuracy_and_speed import main_figures
from moe_eval_plugin.report.charts.over_k import over_k_figures
from tests.report.charts.chart_values import values
from tests.report.report_runs import write_run, write_sweep, wrong_every
from tests.results.timing.timed_files import around

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.charts.base import Figure


def test_points_of_all_models_with_a_speed_stand_against_it(figures: dict[str, Figure]) -> None:
    rows = values(figures["accuracy-against-throughput"])

    assert {(row["label"], row["speed"]) for row in rows} == {("k=8", 5), ("k=4", 10), ("k=1", 40)}


def test_no_label_is_written_over_its_neighbour_or_over_the_edge(tmp_path: Path) -> None:
    for k, rate in ((8, 10.0), (4, 50.0), (2, 10.5)):
        write_run(tmp_path / f"k{k}", k, wrong_every(5), rate=rate)
    task = [compute(series, 1.0) for series in read_series([tmp_path])]

    chart = next(main_figures(task)).chart.to_dict()

    sides: dict[tuple[str, str], set[str]] = {}
    for layer in chart["layer"]:
        if layer["mark"]["type"] == "text":
            rows = chart["datasets"][layer["data"]["name"]]
            mark = layer["mark"]
            side = mark["align"], "above" if mark["dy"] < 0 else "below"
            sides.setdefault(side, set()).update(row["label"] for row in rows)
    # k=2 is hardly faster than k=8, and k=4 is at the right edge.
    assert sides == {
        ("right", "above"): {"k=8"},
        ("right", "below"): {"k=4"},
        ("left", "above"): {"k=2"},
    }


def test_phases_add_up_to_the_time_of_a_question(figures: dict[str, Figure]) -> None:
    rows = [row for row in values(figures["phases"]) if row["label"].endswith("k=8")]

    assert {row["phase"] for row in rows} == {"prefill", "decode", "host gap"}
    assert sum(row["milliseconds"] for row in rows) == pytest.approx(1000 / 5)


def test_speed_ups_have_bars_where_they_have_intervals(
    tmp_path: Path, figures: dict[str, Figure]
) -> None:
    answers = {k: wrong_every(10) for k in (8, 4)}
    write_sweep(tmp_path / "timed", answers, {"k8": around(4), "k4": around(2, spread=0.02)})
    task = [compute(series, 1.0) for series in read_series([tmp_path / "timed"])]

    timed = next(one for one in over_k_figures(task) if one.name == "speed-up-over-k")
    once = figures["speed-up-over-k"]
    (main,) = [one for one in main_figures(task) if one.name == "accuracy-against-throughput"]

    assert "sideways those of the speed-up" in main.caption
    assert "sideways" not in figures["accuracy-against-throughput"].caption
    (speed,) = {
        tuple(row[name] for name in ("slowest", "speed", "fastest"))
        for row in values(main)
        if row["label"] == "k=4"
    }
    assert speed[0] < speed[1] < speed[2] < 1.1 * speed[0]
    layers = timed.chart.to_dict()["layer"]
    ends = [layer["encoding"].get("y2", {}).get("field") for layer in layers]
    bar = layers[ends.index("ratio_high")]
    (row,) = timed.chart.to_dict()["datasets"][bar["data"]["name"]]
    assert row["label"] == "k=4"
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
    assert "Bars are 95% intervals" in timed.caption
    assert "k=4: 2.0" in timed.description
    assert "Timed once" in once.caption
    assert "timed once" in once.description
