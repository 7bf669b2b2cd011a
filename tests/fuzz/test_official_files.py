"""Official VQA files with any content are read, or refused with one of our errors."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.vqa.check import check_folder
from moe_eval_plugin.vqa.official_data import load_official
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES
from tests.fuzz.mutations import as_json, changed_json, damaged_bytes, refused_or

SPLIT = "vqa_v2_val"
FILES = OFFICIAL_FILES[SPLIT]
QUESTIONS: dict[str, Any] = {
    "data_type": "mscoco",
    "data_subtype": "val2014",
    "questions": [
        {"image_id": 42, "question": "What is it?", "question_id": 42000},
        {"image_id": 73, "question": "Is it red?", "question_id": 73000},
    ],
}
ANNOTATIONS: dict[str, Any] = {
    "data_type": "mscoco",
    "data_subtype": "val2014",
    "annotations": [
        {
            "question_id": question["question_id"],
            "image_id": question["image_id"],
            "question_type": "what is",
            "answer_type": "other",
            "multiple_choice_answer": "a dog",
            "answers": [
                {"answer": "a dog", "answer_confidence": "yes", "answer_id": n}
                for n in range(1, 11)
            ],
        }
        for question in QUESTIONS["questions"]
    ],
}


def read(questions: bytes, annotations: bytes) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in zip(FILES.entry_files, (questions, annotations), strict=True):
            (folder / file).write_bytes(content)
        images = folder / FILES.image_folder
        images.mkdir(parents=True)
        for question in QUESTIONS["questions"]:
            (images / FILES.image_name.format(question["image_id"])).write_bytes(b"\xff\xd8")
        loaded = refused_or(lambda: load_official(SPLIT, folder))
        refused_or(lambda: check_folder(folder))
        for record in loaded.records if loaded else ():
            assert len(record["answers"]) == 10
            assert all(isinstance(answer, str) for answer in record["answers"])
            json.dumps(record)


@given(changed_json(QUESTIONS), changed_json(ANNOTATIONS), st.booleans())
def test_any_values(questions: object, annotations: object, both: bool) -> None:
    read(as_json(questions), as_json(annotations if both else ANNOTATIONS))


@given(damaged_bytes(as_json(QUESTIONS)), damaged_bytes(as_json(ANNOTATIONS)))
def test_any_bytes(questions: bytes, annotations: bytes) -> None:
    read(questions, as_json(ANNOTATIONS))
    read(as_json(QUESTIONS), annotations)
