from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moe_eval_plugin.vqa.check import check_folder
from moe_eval_plugin.vqa.check_text import render
from tests.vqa.checked_okvqa import ANNOTATIONS, data_check
from tests.vqa.vqa_files import (
    edit_json,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_json_holds_all_that_was_found(
    okvqa_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_json(okvqa_folder / ANNOTATIONS, lambda c: c["annotations"].__delitem__(slice(7)))
    code, text = data_check(str(okvqa_folder), "--json", capsys=capsys)
    found = json.loads(text)
    assert (code, found["ok"], found["folder"]) == (1, False, str(okvqa_folder))
    split = found["splits"][0]
    assert (split["name"], split["is_there"], split["n_questions"]) == ("okvqa", True, 5046)
    assert split["findings"] == [
        {
            "kind": "error",
            "what": "questions without an annotation",
            "remedy": "Use the questions and the annotations of one release.",
            "count": 7,
            "first": [11, 21, 31, 41, 51],
        }
    ]
    absent = found["splits"][1]
    assert (absent["is_there"], absent["n_questions"]) == (False, None)


def test_what_is_said_of_a_finding(okvqa_folder: Path) -> None:
    edit_json(okvqa_folder / ANNOTATIONS, lambda c: c["annotations"].__delitem__(slice(7)))
    reports = check_folder(okvqa_folder)
    assert render(okvqa_folder, reports).splitlines()[:4] == [
        "okvqa: errors: 1, warnings: 0 (5,046 questions, 5,046 images, answers as-given and raw)",
        "  error: questions without an annotation",
        "    7 (first: 11, 21, 31, 41, 51, ...)",
        "    -> Use the questions and the annotations of one release.",
    ]
