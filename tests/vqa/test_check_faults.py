from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.vqa.check import check_folder, exit_code
from tests.vqa.checked_okvqa import ANNOTATIONS, QUESTIONS, only_finding
from tests.vqa.vqa_files import (
    ANSWERS,
    edit_json,
    given,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def annotation(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    """Change the second annotation, that of question 21."""
    return lambda content: change(content["annotations"][1])


@pytest.mark.parametrize(
    ("name", "change", "kind", "what", "first"),
    [
        (
            QUESTIONS,
            lambda c: c["questions"].append(c["questions"][0]),
            "error",
            f"question ids that occur again in {QUESTIONS}",
            11,
        ),
        (
            ANNOTATIONS,
            lambda c: c["annotations"].append(c["annotations"][0]),
            "error",
            f"question ids that occur again in {ANNOTATIONS}",
            11,
        ),
        (
            ANNOTATIONS,
            lambda c: c["annotations"].append({**c["annotations"][0], "question_id": 5}),
            "error",
            "annotations without a question",
            5,
        ),
        (
            ANNOTATIONS,
            annotation(lambda a: a.update(image_id=3)),
            "error",
            "annotations of another image than their question",
            21,
        ),
        (
            ANNOTATIONS,
            annotation(lambda a: a["answers"].pop()),
            "error",
            "annotations with other than 10 answers",
            21,
        ),
        (
            ANNOTATIONS,
            annotation(lambda a: a["answers"][3].update(answer=None)),
            "error",
            "annotations with an answer that is not text",
            21,
        ),
        (
            ANNOTATIONS,
            annotation(lambda a: a.pop("question_type")),
            "warning",
            "annotations without the type of the question or of the answer",
            21,
        ),
        (
            ANNOTATIONS,
            annotation(lambda a: a.update(answers=given(ANSWERS))),
            "warning",
            f'1 annotations of {ANNOTATIONS} have no "raw_answer", but others have it',
            None,
        ),
        (
            QUESTIONS,
            lambda c: c.update(data_subtype="train"),
            "error",
            f"{QUESTIONS} is of another split: data_subtype is train instead of val2014",
            None,
        ),
        (
            ANNOTATIONS,
            lambda c: c.pop("data_subtype"),
            "warning",
            f"{ANNOTATIONS} does not name its split: data_subtype is missing",
            None,
        ),
    ],
)
def test_each_fault_is_found(
    okvqa_folder: Path,
    name: str,
    change: Callable[[dict[str, Any]], object],
    kind: str,
    what: str,
    first: int | None,
) -> None:
    edit_json(okvqa_folder / name, change)
    finding = only_finding(okvqa_folder)
    assert (finding.kind, finding.what, finding.count) == (kind, what, 1)
    assert finding.first == (() if first is None else (first,))
    assert "official" in finding.remedy or "release" in finding.remedy
    assert exit_code(check_folder(okvqa_folder)) == (kind == "error")
