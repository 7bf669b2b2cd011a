"""Runs of two hosts in one report: they stay apart, and it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.questions.answers import _shared_end
from moe_eval_plugin.report.questions.changes import change_of
from moe_eval_plugin.report.read_series import read_series
from moe_eval_plugin.results.samples import Question
from tests.report.report_runs import TASK, write_run
from tests.results.lm_eval_files import FOLDER
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path


def as_lm_eval(results: Path) -> None:
    """Let a run look like one of lm-eval, without its samples."""

    def change(content: dict[str, Any]) -> None:
        content.update(lm_eval_version="0.4.13")
        content.pop("lmms_eval_version", None)

    edit_json(results, change)


def test_a_task_of_two_hosts_is_two_series_that_say_so(tmp_path: Path) -> None:
    for k in (8, 4):
        write_run(tmp_path / f"a{k}", k)
        as_lm_eval(write_run(tmp_path / f"b{k}", k, samples=False))

    found = [compute(series, 1.0) for series in read_series([tmp_path])]

    assert [one.series.name for one in found] == ["demo, run by lmms-eval", "demo, run by lm-eval"]
    assert [len(one.points) for one in found] == [2, 2]
    note = (
        f"lm-eval ran {TASK} too. Each host has prompts of its own, so compare settings of "
        "lmms-eval with each other."
    )
    assert found[0].notes[-1] == note


def test_runs_of_one_host_name_no_host(tmp_path: Path) -> None:
    for k in (8, 4):
        as_lm_eval(write_run(tmp_path / f"k{k}", k, samples=False))

    (series,) = read_series([tmp_path])

    assert (series.name, series.host, series.other_hosts) == ("demo", "lm-eval", ())


def test_runs_of_the_plain_host_are_series_without_k(repository_root: Path) -> None:
    found = [compute(series, 1.0) for series in read_series([repository_root / FOLDER])]

    assert [(one.series.task, one.series.metric) for one in found] == [
        ("sums", "acc"),
        ("last_word", "acc"),
        ("numbers", "exact_match,strict-match"),
        ("prose", "word_perplexity"),
    ]
    assert [one.points[0].n_questions for one in found] == [4, 3, 3, 2]
    assert found[0].points[0].n_images == 2


def test_nothing_is_recommended_by_a_score_that_is_better_the_lower_it_is(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["higher_is_better"][TASK]["exact_match"] = False

    for k in (8, 4):
        edit_json(write_run(tmp_path / f"k{k}", k, rate=80 / k), change)

    (series,) = read_series([tmp_path])
    numbers = compute(series, 1.0)

    assert (numbers.recommended, numbers.candidate) == (None, None)
    assert all(one.equivalence is None and not one.on_front for one in numbers.points)
    assert numbers.points[1].difference is not None
    assert "exact_match is better the lower it is" in numbers.notes[-1]


@pytest.mark.parametrize(("is_lower_better", "kind"), [(False, "gained"), (True, "lost")])
def test_a_change_is_a_gain_by_the_direction_of_the_score(
    *, is_lower_better: bool, kind: str
) -> None:
    before, after = (Question("1", "a", "a", None, "", {"ppl": value}) for value in (2.0, 3.0))
    assert change_of(before, after, "ppl", is_lower_better=is_lower_better) == kind


@pytest.mark.parametrize(
    ("texts", "end"),
    [
        (["red?\nAnswer:", "blue?\nAnswer:"], "\nAnswer:"),
        (["one?", "two?"], ""),
        (["only\nAnswer:"], ""),
        ([], ""),
    ],
)
def test_lines_that_all_prompts_end_in_are_no_part_of_the_question(
    texts: list[str], end: str
) -> None:
    assert _shared_end(texts) == end
