"""Questions of one task are paired in two runs, of one host or of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError
from tests.results.compare.compared_runs import compare, compare_files, sample
from tests.results.lm_eval_files import RESULTS_FILE, write_lm_eval_run
from tests.results.run_files import write_run

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.results.compare.comparison import TaskComparison


def compare_hosts(folder: Path, a: list[dict[str, Any]], b: list[dict[str, Any]]) -> TaskComparison:
    first = write_run(folder / "a", {"okvqa": a})
    (task,) = compare_files(first, write_lm_eval_run(folder / "b", {"okvqa": b})).tasks
    return task


def test_runs_that_tell_questions_apart_by_other_fields_are_paired_by_number(
    tmp_path: Path,
) -> None:
    task = compare(tmp_path, [sample(1)], [sample(1, "blue", question_id=None)])
    assert (task.n_questions, task.changes[0].question) == (1, "1")


def test_runs_without_a_field_in_common_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="by question_id in A and by doc_id in B"):
        compare(tmp_path, [sample(1, doc_id=None)], [sample(1, question_id=None)])


def test_runs_of_two_hosts_are_compared_question_by_question(tmp_path: Path) -> None:
    lower = {"filtered_resps": "blue", "vqa_accuracy": 0.0}
    task = compare_hosts(tmp_path, [sample(1), sample(2)], [sample(1), sample(2) | lower])

    assert (task.n_questions, task.equal_answers) == (2, 0.5)
    assert [one.question for one in task.changes] == ["20"]
    hosts = {one.name: (one.a, one.b) for one in task.settings}["host"]
    assert hosts == ("lmms-eval", "lm-eval")
    said = "A was run by lmms-eval and B by lm-eval, each with prompts of its own"
    assert f"{said}: all are written alike." in task.notes


def test_prompts_of_two_hosts_that_differ_are_counted(tmp_path: Path) -> None:
    other = sample(1, question_id=None, input="user: Which?")
    task = compare_hosts(tmp_path, [sample(1)], [other])
    assert any("those of 1 questions differ as they are written" in note for note in task.notes)


def test_an_id_of_the_data_identifies_a_question_whose_target_is_written_otherwise(
    tmp_path: Path,
) -> None:
    listed = sample(1, target="['red']")
    assert compare_hosts(tmp_path / "ids", [sample(1)], [listed]).n_questions == 1
    with pytest.raises(DataError, match="same doc_id in A and B and another target"):
        compare_hosts(tmp_path / "numbers", [sample(1)], [listed | {"question_id": None}])


def test_scores_of_all_questions_at_once_are_explained(repository_root: Path) -> None:
    path = repository_root / RESULTS_FILE
    (task,) = compare_files(path, path, "prose", margin=0.01).tasks

    (score,) = task.scores
    assert (score.metric, score.difference.difference, score.verdict) == (
        "word_perplexity",
        0,
        None,
    )
    assert task.equal_answers is None
    notes = "\n".join(task.notes)
    assert "Over all questions at once it is 5.758e+07 in A and 5.758e+07 in B." in notes
    assert "word_perplexity is better the lower it is" in notes


def test_each_score_of_several_filters_can_be_compared(repository_root: Path) -> None:
    path = repository_root / RESULTS_FILE
    (task,) = compare_files(path, path, "numbers", metrics=["exact_match,flexible-extract"]).tasks
    assert task.n_questions == 3
    assert task.scores[0].difference.difference == 0
