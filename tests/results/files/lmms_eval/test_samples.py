"""Lines of a samples file become samples with typed fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.results.files import read_samples
from moe_eval_plugin.results.run import TaskRun

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.results.run import Sample


def read(folder: Path, **line: Any) -> Sample:
    path = folder / "samples.jsonl"
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    (sample,) = read_samples(TaskRun("okvqa", (), None, None, path))
    return sample


def test_a_sample_has_ids_texts_types_and_scores(tmp_path: Path) -> None:
    sample = read(
        tmp_path,
        doc_id=3,
        question_id=30,
        image_id=7,
        target="red",
        input="Which?",
        filtered_resps=["red "],
        answer_type="other",
        question_type="",
        vqa_accuracy=0.3,
        official={"score": True},
        note="x",
        token_counts=[],
    )
    assert (sample.doc_id, sample.question_id, sample.image) == (3, 30, "7")
    assert (sample.target, sample.prompt, sample.answers) == ("red", "Which?", ("red ",))
    assert (sample.answer_type, sample.question_type) == ("other", None)
    assert sample.scores == {"vqa_accuracy": 0.3, "official": 1.0}
    assert sample.submission == (30, "red ")


def test_the_id_and_the_answer_to_submit_come_first(tmp_path: Path) -> None:
    submission = {"question_id": 5, "answer": "blue"}
    sample = read(tmp_path, doc_id=1, filtered_resps="red", submission=submission)
    assert (sample.question_id, sample.submission) == (5, (5, "blue"))
    assert sample.answers == ("red",)


@pytest.mark.parametrize(
    ("counts", "n"),
    [
        ([{"output_tokens": 2}, {"output_tokens": 3}], 5),
        ([{"output_tokens": 2}, None], None),
        ([{"output_tokens": None}], None),
        ([], None),
        (None, None),
    ],
)
def test_tokens_are_added_up_only_if_all_are_counted(
    tmp_path: Path, counts: object, n: int | None
) -> None:
    assert read(tmp_path, doc_id=1, token_counts=counts).n_output_tokens == n


@pytest.mark.parametrize("answer", [None, [], [["a", 0.5]], 3])
def test_answers_that_are_no_text_are_none(tmp_path: Path, answer: object) -> None:
    assert read(tmp_path, doc_id=1, filtered_resps=answer).answers is None
