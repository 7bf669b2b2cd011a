"""Runs become series: what may be averaged or compared stands together, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.report.points import WITHOUT_K
from moe_eval_plugin.report.read_series import read_series
from tests.report.report_runs import (
    TASK,
    in_provenance,
    records,
    write_manifest,
    write_other_run,
    write_run,
    write_sweep,
    wrong_every,
)
from tests.results.timing.timed_files import around
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path


def labels(path: Path) -> list[str]:
    (series,) = read_series([path])
    return [point.label for point in series.points]


def test_points_stand_from_large_k_to_small(tmp_path: Path) -> None:
    for k in (2, 8, 4):
        write_run(tmp_path / f"k{k}", k)

    assert labels(tmp_path) == ["k=8", "k=4", "k=2"]


def test_the_published_k_is_the_baseline_whether_it_was_asked_for_or_not(tmp_path: Path) -> None:
    write_run(tmp_path / "asked", 8)
    write_run(tmp_path / "published", None)
    write_run(tmp_path / "k4", 4)

    (series,) = read_series([tmp_path])

    assert series.baseline is not None
    assert [len(point.runs) for point in series.points] == [2, 1]
    assert series.baseline.label == "k=8"


def test_a_run_that_a_cache_answered_in_part_is_a_series_of_its_own(tmp_path: Path) -> None:
    for name, n_cached in (("whole", 0), ("partly", 39)):
        path = write_run(tmp_path / name, 8)
        edit_json(
            path,
            lambda content, n=n_cached: content["moe_eval"][TASK].update(n_answers_from_cache=n),  # type: ignore[misc]
        )
    names = sorted(one.name for one in read_series([tmp_path]))
    assert names == ["demo", "demo, 39 answers from a cache"]


def test_another_rule_at_the_published_k_is_no_baseline(tmp_path: Path) -> None:
    path = write_run(tmp_path / "policy", 8)
    edit_json(path, lambda content: content["moe_eval"][TASK]["experts"].update(renorm="unit"))

    (series,) = read_series([tmp_path])

    assert series.baseline is None
    assert labels(tmp_path) == ["k=8, unit"]


def test_a_run_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    path = write_run(tmp_path / "k8", 8)

    (series,) = read_series([path, tmp_path])

    assert len(series.points[0].runs) == 1


def test_a_model_that_is_not_ours_stands_beside_the_others(tmp_path: Path) -> None:
    write_run(tmp_path / "ours", 8)
    write_other_run(tmp_path / "other")

    found = {one.name: one for one in read_series([tmp_path])}

    assert [point.label for point in found["another/model"].points] == [WITHOUT_K]
    assert found["another/model"].baseline is None
    assert found["demo"].baseline is not None


@pytest.mark.parametrize(
    ("setting", "values", "words"),
    [("batch_size", (8, 16), "batch size 16"), ("dtype", ("float32", "bfloat16"), "in bfloat16")],
)
def test_runs_of_other_settings_are_other_series_and_named_by_them(
    tmp_path: Path, setting: str, values: tuple[object, object], words: str
) -> None:
    for value in values:
        path = write_run(tmp_path / f"{value}", 8)
        edit_json(path, in_provenance(setting, value))

    assert f"demo, {words}" in [series.name for series in read_series([tmp_path])]


def test_a_part_of_the_questions_is_another_series(tmp_path: Path) -> None:
    write_run(tmp_path / "whole", 8, questions=records(40))
    write_run(tmp_path / "part", 8, questions=records(20))

    assert len(read_series([tmp_path])) == 2


def test_of_a_sweep_only_the_points_that_are_done_are_read(tmp_path: Path) -> None:
    done = {f"k{k}": write_run(tmp_path / f"k{k}", k) for k in (8, 2)}
    write_run(tmp_path / "k4", 4)
    write_run(tmp_path / "k2" / "before", 2)
    write_manifest(tmp_path, done)

    (series,) = read_series([tmp_path])

    assert [(point.label, len(point.runs)) for point in series.points] == [("k=8", 1), ("k=2", 1)]


def test_the_timed_pass_of_a_sweep_is_found_by_task_and_folder(tmp_path: Path) -> None:
    seconds = {"k8": around(4), "k4": around(2)}
    folder = write_sweep(tmp_path / "sweep", {k: wrong_every(10) for k in (8, 4, 2)}, seconds)
    (path,) = (folder / "k4").glob("*_results.json")

    # A file that is named by itself as well is still one of the sweep.
    (series,) = read_series([folder, path])

    names = [point.timed.name if point.timed else None for point in series.points]
    assert names == ["k8", "k4", None]
    (series,) = read_series([folder / "k8", folder / "k4"])
    assert [point.timed.name for point in series.points if point.timed] == ["k8", "k4"]
    assert [(one.task, one.batch_size) for one in series.passes] == [(TASK, 4)]


def test_settings_of_which_some_shared_images_are_one_series_if_they_were_timed(
    tmp_path: Path,
) -> None:
    seconds = {"k8": around(4), "k4": around(2)}
    folder = write_sweep(tmp_path, {k: wrong_every(10) for k in (8, 4)}, seconds)
    (path,) = (folder / "k4").glob("*_results.json")
    edit_json(path, lambda content: content["moe_eval"][TASK]["speed"].update(is_shared=True))

    assert len(read_series([folder])) == 1
    (folder / "timing" / f"{TASK}-b4.jsonl").unlink()
    assert [one.name for one in read_series([folder])] == ["demo", "demo, images shared"]


def test_an_unknown_task_is_an_error_that_names_those_there_are(tmp_path: Path) -> None:
    write_run(tmp_path, 8)

    with pytest.raises(DataError, match=f"Their tasks: {TASK}"):
        read_series([tmp_path], "okvqa")


def test_an_unknown_score_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path, 8)

    with pytest.raises(DataError, match="score f1"):
        read_series([tmp_path], metric="f1")


def test_a_misspelt_score_has_a_hint_that_names_no_measured_value(tmp_path: Path) -> None:
    write_run(tmp_path, 8)
    with pytest.raises(DataError) as caught:
        read_series([tmp_path], metric="exct_match")
    assert str(caught.value) == (
        "The runs have no score exct_match. Did you mean exact_match? Their scores: exact_match. "
        "Name one of them with --metric."
    )


def test_where_several_scores_could_be_meant_one_has_to_be_named(tmp_path: Path) -> None:
    path = write_other_run(tmp_path, samples=False)

    def ambiguous(content: dict[str, Any]) -> None:
        del content["configs"][TASK]["score_key"]
        content["results"][TASK]["f1,none"] = 0.3

    edit_json(path, ambiguous)

    with pytest.raises(InvalidArgumentError, match="--metric: exact_match, f1"):
        read_series([tmp_path])
    assert read_series([tmp_path], metric="f1")[0].metric == "f1"
