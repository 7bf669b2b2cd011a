"""A speed of the model alone is never shown as that of a whole benchmark, nor beside one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.speed_scope import (
    INPUTS_TOO,
    MODEL_ALONE,
    TASK,
    TIMED,
    axis_title,
    sentences_on_speed,
    speed_caption,
)
from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.read_series import read_series
from moe_eval_plugin.report.tables.table import make_table
from tests.report.report_runs import (
    prepare_beforehand,
    write_other_run,
    write_run,
    write_sweep,
    wrong_every,
)
from tests.results.timing.timed_files import around
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics


def computed(path: Path) -> list[SeriesStatistics]:
    return [compute(series, 1.0) for series in read_series([path])]


def speeds_of(numbers: list[SeriesStatistics]) -> set[object]:
    table = make_table(numbers)
    place = [column.key for column in table.columns].index("speed_of")
    return {row[place].value for row in table.rows}


def test_speeds_of_a_sweep_are_said_to_be_of_the_model_alone(tmp_path: Path) -> None:
    for k in (8, 4):
        prepare_beforehand(write_run(tmp_path / f"k{k}", k))

    (numbers,) = found = computed(tmp_path)

    text, once = sentences_on_speed(numbers)
    assert "model alone" in text
    assert "12.5 s" in text
    assert once.startswith("Each setting was timed once, one after another")
    assert "model alone" in axis_title(found)
    assert "without preparing" in speed_caption(found)
    assert speeds_of(found) == {MODEL_ALONE}


def test_other_speeds_are_said_to_be_of_the_whole_benchmark(tmp_path: Path) -> None:
    write_run(tmp_path, 8)

    (numbers,) = found = computed(tmp_path)

    (text,) = sentences_on_speed(numbers)
    assert "end-to-end run" in text
    assert "preparing inputs included" in speed_caption(found)
    assert speeds_of(found) == {INPUTS_TOO}


def test_speeds_with_and_without_inputs_are_not_compared(tmp_path: Path) -> None:
    write_run(tmp_path / "whole", 8)
    prepare_beforehand(write_run(tmp_path / "alone", 4, rate=50))

    found = computed(tmp_path)

    assert {one.series.name for one in found} == {"demo", "demo, inputs prepared beforehand"}
    ratios = [point.speed_up for one in found for point in one.points]
    assert all(ratio is None or ratio.ratio == 1 for ratio in ratios)
    assert axis_title(found) == "questions per second"
    assert "stated for each model above" in speed_caption(found)


def test_speeds_of_a_timed_pass_are_said_to_be_of_requests(tmp_path: Path) -> None:
    answers = {8: wrong_every(10), 4: wrong_every(10)}
    write_sweep(tmp_path, answers, {"k8": around(4), "k4": around(2)})

    (numbers,) = found = computed(tmp_path)

    (text,) = sentences_on_speed(numbers)
    assert text.startswith("A timed request includes reading and encoding")
    assert axis_title(found) == "questions per second at batch size 4"
    assert "of requests in the timed pass" in speed_caption(found)
    assert speeds_of(found) == {TIMED}


def test_task_throughput_is_said_to_be_no_speed_of_requests(tmp_path: Path) -> None:
    path = write_run(tmp_path, 8)
    edit_json(path, lambda content: content["moe_eval"]["easy_vqa"]["speed"].update(is_shared=True))

    (numbers,) = found = computed(tmp_path)

    (text,) = sentences_on_speed(numbers)
    assert text.startswith("The rates are task throughput: questions shared images")
    assert axis_title(found) == "questions per second, task throughput"
    assert speeds_of(found) == {TASK}


def test_nothing_is_said_of_a_speed_that_was_not_measured(tmp_path: Path) -> None:
    write_other_run(tmp_path)

    (numbers,) = computed(tmp_path)

    assert list(sentences_on_speed(numbers)) == []


def test_time_that_is_not_known_is_left_out(tmp_path: Path) -> None:
    prepare_beforehand(write_run(tmp_path, 8), seconds=None)

    (text,) = sentences_on_speed(computed(tmp_path)[0])

    assert "were prepared beforehand. Throughput" in text
