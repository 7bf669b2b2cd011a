"""Tiny data for the suite ``flame_moe``: Parquet files with the columns of its six data sets.

``write_suite_data`` writes them as ``MOE_EVAL_DATA`` expects them, so that commands with that
variable run the suite without a network.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from datasets import Dataset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TASKS = ("openbookqa", "winogrande", "piqa", "arc_easy", "arc_challenge", "hellaswag")
N_TRAIN, N_ASKED = 14, 6
THINGS = ("a cup", "a key", "the rope", "some sand", "the lamp", "a nail", "the box", "a coat")


def write_suite_data(folder: Path, n_train: int = N_TRAIN, n_asked: int = N_ASKED) -> Path:
    """Write all six data sets into a folder, for ``MOE_EVAL_DATA``, and return the folder.

    Each has ``n_train`` rows for few-shot examples, 11 at least, and ``n_asked`` in other splits.
    """
    sizes = {"train": n_train, "validation": n_asked, "test": n_asked}
    for number, (where, (row, splits)) in enumerate(DATA_SETS.items()):
        draw = random.Random(number)  # noqa: S311  (no secrets)
        for split in splits:
            rows = Dataset.from_list([row(draw, i) for i in range(sizes[split])])
            path = folder / where / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.to_parquet(str(path))
    return folder


def _choices(draw: random.Random) -> dict[str, list[str]]:
    return {"text": draw.sample(THINGS, 4), "label": ["A", "B", "C", "D"]}


def _openbookqa(draw: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": f"7-{number}",
        "question_stem": f"Which one holds {draw.choice(THINGS)} for {number} days?",
        "choices": _choices(draw),
        "answerKey": draw.choice("ABCD"),
    }


def _winogrande(draw: random.Random, number: int) -> dict[str, Any]:
    first, second = draw.sample(THINGS, 2)
    return {
        "sentence": f"On day {number} {first} did not fit on {second} because _ was too large.",
        "option1": first,
        "option2": second,
        "answer": draw.choice("12"),
    }


def _piqa(draw: random.Random, number: int) -> dict[str, Any]:
    first, second = draw.sample(THINGS, 2)
    return {
        "goal": f"How to hang up {first} with {number} hooks?",
        "sol1": f"Use {second}.",
        "sol2": f"Never use {second}, nor hooks.",
        "label": draw.randint(0, 1),
    }


def _arc(draw: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": f"Mercury_{number}",
        "question": f"Which is heavier than {draw.choice(THINGS)}, case {number}?",
        "choices": _choices(draw),
        "answerKey": draw.choice("ABCD"),
    }


def _hellaswag(draw: random.Random, number: int) -> dict[str, Any]:
    first, second = draw.sample(THINGS, 2)
    return {
        "ind": number,
        "activity_label": "Cleaning [step]  up",
        "ctx_a": f"A man looks at {first}.",
        "ctx_b": "he",
        "ctx": f"A man looks at {first}. he",
        "endings": [f"{verb} {second}." for verb in ("takes", "drops", "paints", "sells")],
        "source_id": f"activitynet~v_{number}",
        "split": "train",
        "split_type": "indomain",
        "label": str(draw.randint(0, 3)),
    }


ALL = ("train", "validation", "test")
# By folder: the rows, and the splits whose answers are public.
DATA_SETS: dict[str, tuple[Callable[[random.Random, int], dict[str, Any]], tuple[str, ...]]] = {
    "allenai/openbookqa/main": (_openbookqa, ALL),
    "allenai/winogrande/winogrande_xl": (_winogrande, ALL[:2]),
    "baber/piqa/data": (_piqa, ALL[:2]),
    "allenai/ai2_arc/ARC-Easy": (_arc, ALL),
    "allenai/ai2_arc/ARC-Challenge": (_arc, ALL),
    "Rowan/hellaswag/data": (_hellaswag, ALL[:2]),
}
