"""Requests as lmms-eval makes them, of questions of easy-VQA."""

from __future__ import annotations

from typing import Any

from easy_vqa import get_test_image_paths, get_test_questions
from lmms_eval.api.instance import Instance
from PIL import Image

TASK, SPLIT = "easy_vqa", "test"
GENERATION = {"max_new_tokens": 4, "until": ["\n\n"]}
N_QUESTIONS = 12


def questions(n_questions: int = N_QUESTIONS) -> list[dict[str, Any]]:
    paths = get_test_image_paths()
    rows = list(zip(*get_test_questions(), strict=True))[:n_questions]
    return [{"question": q, "answer": a, "image": str(paths[i])} for q, a, i in rows]


def messages(doc: dict[str, Any], **_: object) -> list[dict[str, Any]]:
    text = doc["question"] + "\nAnswer the question using a single word or phrase."
    content = [{"type": "image", "url": picture(doc)}, {"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


def picture(doc: dict[str, Any]) -> Image.Image:
    with Image.open(doc["image"]) as image:
        return image.convert("RGB")


def request(
    doc_id: int,
    to_messages: Any = messages,
    task: str = TASK,
    generation: dict[str, Any] = GENERATION,
    **metadata: object,
) -> Instance:
    question = questions(doc_id + 1)[doc_id]["question"]
    return Instance(
        request_type="generate_until",
        arguments=(question, to_messages, dict(generation), doc_id, task, SPLIT),
        idx=0,
        metadata={"task": task, "doc_id": doc_id, "repeats": 1, **metadata},
    )


def scoring_request(doc_id: int, continuation: Any, task: str = TASK) -> Instance:
    doc = questions(doc_id + 1)[doc_id]
    text = messages(doc)[0]["content"][1]["text"]
    return Instance(
        request_type="loglikelihood",
        arguments=(text, continuation, lambda doc: [picture(doc)], doc_id, task, SPLIT),
        idx=0,
        metadata={"task": task, "doc_id": doc_id, "repeats": 1},
    )
