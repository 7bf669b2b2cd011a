"""The charts show each point that was measured, and can be drawn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.report.numbers import compute
from moe_eval_plugin.report.points import read_series
from tests.report.report_runs import (
    N_LAYERS,
    set_question_types,
    write_bench,
    write_other_run,
    write_run,
    wrong_every,
)

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.drawing import Figure

pytest.importorskip("altair", reason="the extra report is not installed")
vl_convert = pytest.importorskip("vl_convert", reason="the extra report is not installed")

from moe_eval_plugin.report.charts import main_figures  # noqa: E402  (they need Altair)
from moe_eval_plugin.report.charts_bench import bench_figures, read_bench  # noqa: E402
from moe_eval_plugin.report.charts_routing import routing_figures, short_names  # noqa: E402


@pytest.fixture
def figures(tmp_path: Path) -> dict[str, Figure]:
    for k, step in ((8, 40), (4, 10), (1, 2)):
        write_run(tmp_path / f"k{k}", k, wrong_every(step), rate=40 / k)
    write_other_run(tmp_path / "other")
    task = [compute(series, 1.0) for series in read_series([tmp_path])]
    found = [*main_figures(task)]
    for number, series in enumerate(task):
        found += routing_figures(series, number, several=True)
    return {figure.name: figure for figure in found}


def values(figure: Figure) -> list[dict[str, Any]]:
    """Give all rows that a chart holds; Altair puts equal ones together."""
    return [row for rows in figure.chart.to_dict()["datasets"].values() for row in rows]


def test_every_kind_of_chart_is_there_once(figures: dict[str, Figure]) -> None:
    assert list(figures) == [
        "accuracy-against-throughput",
        "accuracy-over-k",
        "speed-up-over-k",
        "accuracy-by-answer-type",
        "phases",
        "observed-k",
        "distinct-prefill",
        "load-evenness",
    ]


def test_each_chart_compiles_and_has_a_text_that_can_be_read_instead(
    figures: dict[str, Figure],
) -> None:
    for figure in figures.values():
        vega = vl_convert.vegalite_to_vega(figure.chart.to_dict())

        assert vega["marks"], figure.name
        assert "k=4" in figure.description, figure.name


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


def test_each_question_type_shows_what_it_loses_at_each_setting(tmp_path: Path) -> None:
    for k, step in ((8, 40), (4, 10), (1, 2)):
        path = write_run(tmp_path / f"k{k}", k, wrong_every(step))
        set_question_types(path, lambda number: "is the" if number < 25 else "what")
    task = [compute(series, 1.0) for series in read_series([tmp_path])]

    figure = next(one for one in main_figures(task) if "question-type" in one.name)

    rows = [row for row in values(figure) if "type" in row]
    assert [(row["type"], row["label"]) for row in rows] == [
        (kind, label) for label in ("k=4", "k=1") for kind in ("is the (25)", "what (15)")
    ]
    assert vl_convert.vegalite_to_vega(figure.chart.to_dict())["marks"]
    assert "what (15), k=1: -46.7" in figure.description


def test_phases_add_up_to_the_time_of_a_question(figures: dict[str, Figure]) -> None:
    rows = [row for row in values(figures["phases"]) if row["label"].endswith("k=8")]

    assert {row["phase"] for row in rows} == {"prefill", "decode", "host gap"}
    assert sum(row["milliseconds"] for row in rows) == pytest.approx(1000 / 5)


def test_heat_maps_have_a_cell_for_each_layer_and_setting(figures: dict[str, Figure]) -> None:
    cells = values(figures["distinct-prefill"])

    assert len(cells) == 3 * N_LAYERS
    assert {(cell["label"], cell["value"]) for cell in cells} == {
        ("k=8", 24),
        ("k=4", 12),
        ("k=1", 3),
    }


def test_observed_k_is_the_mean_over_tokens(tmp_path: Path) -> None:
    path = write_run(tmp_path, 8)
    content = json.loads(path.read_text())
    layers = content["moe_eval"]["easy_vqa"]["experts"]["routing"]["layers"]
    # 60 text tokens and 40 image tokens of a prefill, and 4 tokens that were decoded.
    layers["model.layers.0.mlp.experts"]["observed_num_experts_per_tok"]["prefill"]["image"] = 2.0
    path.write_text(json.dumps(content))
    (series,) = read_series([tmp_path])

    figures = list(routing_figures(compute(series, 1.0), 0, several=False))

    observed = {row["layer"]: row["observed"] for row in values(figures[0])}
    assert observed["0"] == pytest.approx((64 * 8 + 40 * 2) / 104)
    assert observed["1"] == 8


def test_layers_are_called_by_what_tells_them_apart() -> None:
    paths = [f"model.layers.{layer}.mlp.experts" for layer in (1, 10, 11)]

    assert short_names(paths) == ["1", "10", "11"]
    assert short_names(["a.0.text", "a.0.image", "a.1.text"]) == ["0 text", "0 image", "1 text"]
    assert short_names(["a.b", "c"]) == ["0", "1"]
    assert short_names([]) == []


def test_a_bench_shows_both_phases_with_their_ceilings(tmp_path: Path) -> None:
    bench = read_bench(write_bench(tmp_path / "bench.json"))

    figures = {figure.name: figure for figure in bench_figures(bench, 0, several=False)}

    assert list(figures) == ["gain-prefill", "gain-decode"]
    rows = values(figures["gain-prefill"])
    assert {(row["k"], row["batch"], row["ceiling"]) for row in rows} == {
        ("k=8", 1, 1),
        ("k=8", 16, 1),
        ("k=4", 1, 2),
        ("k=4", 16, 2),
    }
    for figure in figures.values():
        assert vl_convert.vegalite_to_vega(figure.chart.to_dict())["marks"]


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "sweep"}', '{"kind": "bench"}'])
def test_another_file_is_no_bench(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)

    with pytest.raises(DataError, match="moe-eval bench --output"):
        read_bench(path)
