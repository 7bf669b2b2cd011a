"""Small data sets for the tasks: official files, and a data set in the form of the hub's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datasets
from PIL import Image

from tests.vqa.vqa_files import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OKVQA_ANNOTATIONS = "mscoco_val2014_annotations.json"


def add_raw_answers(content: dict[str, Any]) -> None:
    """Add the answers as people wrote them, as the files of OK-VQA have them."""
    for annotation in content["annotations"]:
        for answer in annotation["answers"]:
            answer["raw_answer"] = f"{answer['answer']} racing"


def as_on_the_hub(folder: Path, *columns: str, answers: Sequence[str] = ANSWERS) -> str:
    """Write a data set of one question in the form of the hub's, and return its path."""
    rows = {
        "question_id": ["71"],
        "question": ["What colour?"],
        "image": [Image.new("L", (8, 6))],
        "answers": [[{"answer": text} for text in answers]],
        "question_type": ["what color is the"],
        "answer_type": ["other"],
    }
    features = datasets.Features(
        {
            "question_id": datasets.Value("string"),
            "question": datasets.Value("string"),
            "image": datasets.Image(),
            "answers": [{"answer": datasets.Value("string")}],
            "question_type": datasets.Value("string"),
            "answer_type": datasets.Value("string"),
        }
    )
    dataset = datasets.Dataset.from_dict(rows, features=features).select_columns(list(columns))
    (folder / "hub" / "data").mkdir(parents=True)
    dataset.to_parquet(folder / "hub" / "data" / "val2014-00000-of-00001.parquet")
    return str(folder / "hub")
