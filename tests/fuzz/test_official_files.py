"""Official VQA files with any content are read, or refused with one of our errors."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.vqa.check import check_folder
from moe_eval_plugin.vqa.official_data import load_official
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES
from tests.fuzz.mutations import Readers, as_json, changed_json, damaged_bytes

if TYPE_CHECKING:
    from moe_eval_plugin.vqa.dataset import Record

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


def read(questions: bytes, annotations: bytes) -> tuple[list[Record], Readers]:
    readers = Readers()
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in zip(FILES.entry_files, (questions, annotations), strict=True):
            (folder / file).write_bytes(content)
        images = folder / FILES.image_folder
        images.mkdir(parents=True)
        for question in QUESTIONS["questions"]:
            (images / FILES.image_name.format(question["image_id"])).write_bytes(b"\xff\xd8")
        loaded = readers.call(load_official, SPLIT, folder)
        readers.call(check_folder, folder)
    return [*loaded.records] if loaded else [], readers


def is_whole(record: Record) -> bool:
    json.dumps(record)
    texts = all(isinstance(answer, str) for answer in record["answers"])
    return texts and len(record["answers"]) == 10


@given(changed_json(QUESTIONS), changed_json(ANNOTATIONS), st.booleans())
def test_any_values(questions: object, annotations: object, both: bool) -> None:
    records, readers = read(as_json(questions), as_json(annotations if both else ANNOTATIONS))

    assert all(map(is_whole, records))
    assert readers.unreadable == []


@given(damaged_bytes(as_json(QUESTIONS)), damaged_bytes(as_json(ANNOTATIONS)))
def test_any_bytes(questions: bytes, annotations: bytes) -> None:
    pairs = [(questions, as_json(ANNOTATIONS)), (as_json(QUESTIONS), annotations)]
    for records, readers in (read(*pair) for pair in pairs):
        assert all(map(is_whole, records))
        assert readers.unreadable == []
