"""What agrees between a finished sweep and its repetition, and what differs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.reproduce.agreement import AGREES, NOT_JUDGED
from moe_eval_plugin.publish.reproduce.text import render_agreement
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.sweeps.manifest import load_manifest
from tests.publish.bundle.finished_sweeps import change, in_record, results_of, write_sweep
from tests.publish.reproduce.compared_sweeps import (
    OBSERVED,
    as_mean,
    compared,
    differing,
    row,
    verdict,
)
from tests.report.report_runs import (
    records,
    right,
    write_other_run,
    write_run,
    wrong_every,
)
from tests.results.lm_eval_files import FOLDER, RESULTS_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.vqa.dataset import Record


def test_an_honest_repeat_agrees(original: Path, again: Path) -> None:
    agreement = compared(original, again)
    assert agreement.agrees
    for point in ("k8", "k2"):
        for number in ("questions", "equal answers", "exact_match", OBSERVED, "n_input_tokens"):
            assert verdict(agreement, point, number) == AGREES
    assert row(agreement, "k2", "exact_match").original == 0.75
    assert "Accuracy: reproduced, 2 of 2 settings." in render_agreement(agreement)


def test_a_run_of_lm_eval_agrees_with_its_repetition_in_the_numbers_of_its_table(
    repository_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(repository_root / FOLDER, tmp_path / "again")
    folders = repository_root / FOLDER, tmp_path / "again"
    agreement = compared(*folders)
    assert agreement.agrees
    numbers = {(one.task, one.number): one for one in agreement.rows}
    perplexity = numbers["prose", "word_perplexity"]
    run = read_run(repository_root / RESULTS_FILE)
    scores = {score.metric: score.value for score in run.task("prose").scores}
    assert perplexity.original == perplexity.again == scores["word_perplexity"]
    assert "points" not in perplexity.reason
    assert {*("acc", "acc_norm")} < {number for task, number in numbers if task == "sums"}
    assert ("numbers", "exact_match,flexible-extract") in numbers

    (again,) = (tmp_path / "again").glob("results_*.json")
    change(again, lambda content: content["task_hashes"].update(sums="another"))
    assert any("prompts and targets" in one for one in compared(*folders).settings)
    assert not compared(*folders, limited=True).settings
    (samples,) = (tmp_path / "again").glob("samples_sums_*.jsonl")
    samples.write_text("".join(samples.read_text("utf-8").splitlines(keepends=True)[:2]), "utf-8")
    assert ("run", "questions") in differing(compared(*folders))


def test_a_point_that_was_not_made_again_differs(original: Path, again: Path) -> None:
    results_of(again, "k2").unlink()
    assert differing(compared(original, again)) == [("k2", "point")]


def test_other_questions_differ(original: Path, tmp_path: Path) -> None:
    fewer = write_sweep(tmp_path / "fewer")
    write_run(fewer / "k2" / "demo", 2, wrong_every(4), records(20))
    agreement = compared(original, fewer)
    assert ("k2", "questions") in differing(agreement)
    assert "20 were not asked again" in row(agreement, "k2", "questions").reason


def test_a_part_of_the_questions_is_compared_if_that_was_asked_for(
    original: Path, tmp_path: Path
) -> None:
    fewer = write_sweep(tmp_path / "fewer")
    for k, answer in ((8, right), (2, wrong_every(4))):
        write_run(fewer / f"k{k}" / "demo", k, answer, records(20))
    agreement = compared(original, fewer, limited=True)
    assert agreement.agrees
    assert verdict(agreement, "k2", "exact_match") == AGREES
    asked = row(agreement, "k2", "questions")
    assert (asked.original, asked.again, asked.verdict) == (20, 20, AGREES)
    assert row(agreement, "k2", "n_input_tokens").verdict == NOT_JUDGED
    worse = wrong_every(1)
    write_run(fewer / "k2" / "demo", 2, worse, records(20))
    assert differing(compared(original, fewer, limited=True)) == [("k2", "exact_match")]


def test_points_are_found_by_their_setting_and_not_by_their_name(
    original: Path, again: Path
) -> None:
    manifest = load_manifest(again)
    assert manifest is not None
    manifest.entries = {f"{name}-again": entry for name, entry in manifest.entries.items()}
    manifest.save()
    assert compared(original, again).agrees


def test_a_single_run_is_compared_with_a_single_run(tmp_path: Path, original: Path) -> None:
    runs = [write_run(tmp_path / name, 4) for name in "ab"]
    agreement = compared(*runs)
    assert agreement.agrees
    assert {one.point for one in agreement.rows} == {"run"}
    with pytest.raises(DataError, match=r"The bundle holds a sweep, and .* is a single run"):
        compared(original, runs[0])


def test_a_model_that_is_not_ours_is_compared_by_its_answers(tmp_path: Path) -> None:
    agreement = compared(write_other_run(tmp_path / "a"), write_other_run(tmp_path / "b"))
    assert agreement.agrees
    assert [one.number for one in agreement.rows] == ["questions", "equal answers", "exact_match"]


def test_other_settings_are_told(original: Path, again: Path) -> None:
    change(
        results_of(again, "k2"), in_record(lambda one: one["provenance"].update(dtype="float32"))
    )
    change(
        results_of(again, "k2"),
        in_record(lambda one: one["provenance"].update(encode_s={"easy_vqa": 1.0})),
    )
    assert compared(original, again).settings == ("dtype: None -> float32",)


def test_a_part_is_compared_with_the_same_questions_of_the_original(tmp_path: Path) -> None:
    def wrong_at_the_end(number: int, record: Record) -> str:
        return "wrong" if number >= 20 else right(number, record)

    original = write_sweep(tmp_path / "original", {8: right, 2: wrong_at_the_end})
    fewer = write_sweep(tmp_path / "fewer")
    for k in (8, 2):
        write_run(fewer / f"k{k}" / "demo", k, right, records(20))
    for folder in (original, fewer):
        change(results_of(folder, "k2"), as_mean)
    found = row(compared(original, fewer, limited=True), "k2", "exact_match")
    assert (found.original, found.again, found.verdict) == (1.0, 1.0, AGREES)
    assert row(compared(original, fewer), "k2", "exact_match").original == 0.5
