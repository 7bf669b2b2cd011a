"""Small data sets in the layout of the official VQA files, to be read and to be broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.vqa.official_data import (
    load_official,
)
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from moe_eval_plugin.vqa.official_files import OfficialFiles

IMAGE_IDS = (7, 8, 9)
ANSWERS = ["red", "red", "red", "red", "Red.", "the red", "blue", "blue", "pink", "one"]


def question_id(image_id: int) -> int:
    return image_id * 10 + 1


def write_official(
    folder: Path,
    name: str = "okvqa",
    image_ids: Sequence[int] = IMAGE_IDS,
    *,
    images: bool = True,
) -> OfficialFiles:
    """Write the files of a split with one question, ten answers and an image for each id."""
    files = OFFICIAL_FILES[name]
    (folder / files.image_folder).mkdir(parents=True, exist_ok=True)
    questions = [
        {"question_id": question_id(i), "image_id": i, "question": f"What colour is no. {i}?"}
        for i in image_ids
    ]
    header = {"data_subtype": files.subtypes[0]}
    write_json(folder / files.questions, {**header, "questions": questions})
    if files.annotations is not None:
        annotations = [
            {"question_id": question_id(i), "image_id": i, "answers": given(ANSWERS)}
            for i in image_ids
        ]
        write_json(folder / files.annotations, {**header, "annotations": annotations})
    for i in image_ids if images else ():
        image = Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 20).convert("RGB")
        image.save(folder / files.image_folder / files.image_name.format(i))
    return files


def given(answers: Sequence[object]) -> list[dict[str, Any]]:
    """Write the answers to a question as the official files do."""
    return [{"answer": answer, "answer_id": n} for n, answer in enumerate(answers, start=1)]


def write_complete(folder: Path) -> None:
    """Write OK-VQA with all its questions, types, and answers as written; images are empty."""
    files = OFFICIAL_FILES["okvqa"]
    image_ids = range(1, files.n_questions + 1)
    write_official(folder, image_ids=image_ids, images=False)
    edit_json(folder / str(files.annotations), add_types_and_raw_answers)
    for i in image_ids:
        (folder / files.image_folder / files.image_name.format(i)).touch()


def add_types_and_raw_answers(content: dict[str, Any]) -> None:
    """Complete the content of an annotations file, in place."""
    for annotation in content["annotations"]:
        annotation.update(question_type="what", answer_type="other")
        for answer in annotation["answers"]:
            answer["raw_answer"] = f"{answer['answer']}s"


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file by a function that works on its content in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    write_json(path, content)


def cut_off(path: Path, share: float = 0.5) -> None:
    """Keep only the first part of a file, as an interrupted download does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


QUESTIONS = OFFICIAL_FILES["okvqa"].questions


ANNOTATIONS = str(OFFICIAL_FILES["okvqa"].annotations)


def fails(official_folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_official("okvqa", official_folder)
    return str(caught.value)
