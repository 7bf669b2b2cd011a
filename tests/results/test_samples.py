from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from tests.results.compare.compared_runs import compare, compare_files, sample, write_pair
from tests.results.run_files import write_run
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from pathlib import Path

    from tests.results.run_files import Sample


def test_questions_without_an_id_are_paired_by_their_number(tmp_path: Path) -> None:
    a = [sample(number, question_id=7) for number in range(3)]

    assert compare(tmp_path, a, list(reversed(a))).equal_answers == 1


def test_questions_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be distinguished"):
        compare(tmp_path, [sample(1), sample(1)], [sample(1)])


def test_a_run_without_samples_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", {"okvqa": [sample(1)]})
    (samples,) = path.parent.glob("*.jsonl")

    samples.write_text("")
    with pytest.raises(DataError, match="has no samples"):
        compare_files(path, path)
    samples.unlink()
    with pytest.raises(DataError, match="again with --log_samples"):
        compare_files(path, path)


def submitted(number: int, answer: str) -> Sample:
    submission = {"question_id": number, "answer": answer}
    return {"doc_id": number, "target": "", "filtered_resps": answer, "submission": submission}


def test_answers_to_be_submitted_are_compared_without_scores(tmp_path: Path) -> None:
    found = compare(
        tmp_path,
        [submitted(1, "red"), submitted(2, "red")],
        [submitted(1, "red"), submitted(2, "no")],
    )

    assert (found.equal_answers, found.scores) == (0.5, ())
    assert found.change_counts == {"not scored": 1}
    assert any("only the organisers" in note for note in found.notes)


def test_the_score_that_the_task_names_is_compared(tmp_path: Path) -> None:
    path = write_run(tmp_path, {"okvqa": [sample(1, vqa_accuracy_official=0.3, extra=0.6)]})

    def name_rows(content: dict[str, Any]) -> None:
        content["results"]["okvqa"]["vqa_accuracy_official,none"] = 0.3
        content["configs"]["okvqa"]["score_key"] = "extra"

    edit_json(path, name_rows)
    assert [one.metric for one in compare_files(path, path).tasks[0].scores] == ["extra"]

    edit_json(path, lambda content: content["configs"]["okvqa"].pop("score_key"))
    with pytest.raises(InvalidArgumentError, match="Which score okvqa is compared by") as caught:
        compare_files(path, path)
    assert "--metric: vqa_accuracy, score, vqa_accuracy_official, extra" in str(caught.value)


def test_runs_whose_tasks_name_other_scores_must_be_told_which(tmp_path: Path) -> None:
    a, b = write_pair(tmp_path)
    edit_json(b, lambda content: content["configs"]["okvqa"].update(score_key="score"))

    with pytest.raises(InvalidArgumentError, match="Which score okvqa is compared by"):
        compare_files(a, b)
    assert compare_files(a, b, metrics=["score"]).tasks[0].scores[0].metric == "score"


def test_scores_can_be_chosen(tmp_path: Path) -> None:
    a = [sample(number, official={"score": number % 2}, exact=True) for number in range(4)]

    found = compare(tmp_path, a, a, metrics=["official", "exact", "official"])

    assert [one.metric for one in found.scores] == ["official", "exact"]
    assert [one.difference.value for one in found.scores] == [0.5, 1.0]
    with pytest.raises(InvalidArgumentError, match="no score 'accuracy'"):
        compare(tmp_path, a, a, metrics=["accuracy"])


@pytest.mark.parametrize("missing", [None, "1.0", float("nan")])
def test_a_score_that_one_question_lacks_is_none_of_the_run(tmp_path: Path, missing: Any) -> None:
    a, b = [sample(1), sample(2)], [sample(1), sample(2, score=missing)]

    with pytest.raises(InvalidArgumentError, match="no score 'vqa_accuracy' for each question"):
        compare(tmp_path, a, b, metrics=["vqa_accuracy"])
