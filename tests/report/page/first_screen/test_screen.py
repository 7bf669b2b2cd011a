"""The first screen has an answer, a chart and a row for each setting, at every margin."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

from moe_eval_plugin.report.page.first_screen.screen import first_screen  # noqa: E402
from tests.report.report_runs import computed, write_other_run, write_sweep, wrong_every  # noqa: E402
from tests.results.timing.timed_files import around  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.page.first_screen.screen import FirstScreen

USUAL = wrong_every(10)
SECONDS = {"k8": around(4), "k4": around(2), "k2": around(1)}


def screen(folder: Path, margin: float = 1.0) -> FirstScreen:
    return first_screen([computed(folder, margin)])


def test_every_margin_has_its_verdict(tmp_path: Path) -> None:
    write_sweep(tmp_path, {8: USUAL, 4: USUAL, 2: wrong_every(2)}, SECONDS)

    found = screen(tmp_path, 60.0)

    (part,) = found.parts
    assert found.title == "demo on easy_vqa: how many experts are enough?"
    assert (found.margins, found.margin) == (("0.5", "1", "2", "5", "60"), "60")
    cards = {card.margin: card for card in part.cards}
    assert cards["60"].headline == "Use k=2 instead of 8"
    assert (cards["5"].headline, cards["5"].tone) == ("Use k=4 instead of 8", "good")
    texts = [fact.value for fact in cards["5"].facts]
    assert texts == ["0.00 points", "2.00×", "4"]
    assert found.description.startswith("Recommended: k=2. It is 4.00×")
    rows = {row.label: row for row in part.rows}
    assert rows["k=4"].recommended_at == ("1", "2", "5")
    assert rows["k=2"].recommended_at == ("60",)
    pills = {pill.margin: pill.text for pill in rows["k=2"].pills}
    assert (pills["1"], pills["60"]) == ("loses more", "recommended")
    assert (rows["k=8"].change, rows["k=2"].change) == ("", "−40.00")


def test_the_chart_holds_the_windows_of_all_margins(tmp_path: Path) -> None:
    write_sweep(tmp_path, {8: USUAL, 4: USUAL, 2: wrong_every(2)}, SECONDS)
    (part,) = screen(tmp_path).parts

    assert part.chart is not None
    spec = part.chart.figure.chart.to_dict()
    rows = next(iter(spec["datasets"].values())) if "datasets" in spec else spec["data"]["values"]

    settings = [row for row in rows if row["kind"] != "window"]
    assert {row["window"] for row in settings} == {
        f"{margin}{scale}" for margin in ("0.5", "1", "2", "5") for scale in ("", " all")
    }
    recommended = {row["label"] for row in settings if row["kind"] == "recommended"}
    assert recommended == {"k=4"}
    off = next(row["off"] for row in rows if row["kind"] == "window" and row["window"] == "1")
    assert off == "▼ off this scale: k=2 (−40.00 points, 4.00×)"
    assert part.chart.has_off_scale
    assert '"shown"' in json.dumps(spec["params"])


def test_without_speed_ups_the_change_is_drawn_over_k(tmp_path: Path) -> None:
    numbers = computed(write_sweep(tmp_path, {8: USUAL, 4: USUAL}))
    points = tuple(replace(one, speed_up=None) for one in numbers.points)

    (part,) = first_screen([replace(numbers, points=points)]).parts

    assert part.chart is not None
    assert part.chart.figure.title == "What each k costs"
    assert part.chart.has_margins
    assert {row.speed_up for row in part.rows} == {""}


def test_without_a_baseline_the_accuracy_is_drawn(tmp_path: Path) -> None:
    write_sweep(tmp_path, {4: USUAL, 2: wrong_every(2)}, {"k4": around(2), "k2": around(1)})
    (part,) = screen(tmp_path).parts

    assert part.chart is not None
    assert part.chart.figure.title == "Accuracy against questions per second"
    assert not part.chart.has_margins
    assert {pill.text for row in part.rows for pill in row.pills} == {"not compared"}


def test_a_single_setting_has_no_chart(tmp_path: Path) -> None:
    write_other_run(tmp_path)
    (part,) = screen(tmp_path).parts

    assert part.chart is None
    assert part.badges == ("smoke test",)
    assert [fact.heading for fact in part.cards[0].facts] == ["Accuracy"]
