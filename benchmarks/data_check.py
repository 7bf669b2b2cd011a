"""Measure the time and memory of reading and checking full-size data files.

Run ``python benchmarks/data_check.py`` in an environment with the package. It writes files of the
size and layout of the official VQAv2 ones, and a questions file of 500 MB, in a temporary folder
that needs 1 GB. Each row is a process of its own. The exit code is 1 if checking the VQAv2
validation files takes more than a minute or 2 GB.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_SECONDS = 60
MOST_BYTES = 2 * 1000**3
QUESTIONS_PER_IMAGE = 5
WORDS = ("yes", "no", "2", "white", "tennis racket", "on the left", "frisbee", "caf\u00e9")
CHECK = "from moe_eval_plugin.cli import main; main(['data', 'check', {folder!r}])"
LOAD = """
from pathlib import Path
from moe_eval_plugin.vqa import official_data
print(len(official_data.{call}), "questions")
"""


class Row(NamedTuple):
    """What one process took."""

    what: str
    n_bytes: int
    seconds: float
    processor_seconds: float
    peak_bytes: int


def question(number: int) -> dict[str, object]:
    """Return an entry of a questions file; image ids are below 600,000, as in COCO."""
    image_id = number // QUESTIONS_PER_IMAGE + 1
    question_id = image_id * 1000 + number % QUESTIONS_PER_IMAGE
    text = f"What is the person in the {WORDS[number % len(WORDS)]} shirt holding?"
    return {"image_id": image_id, "question": text, "question_id": question_id}


def annotation(number: int) -> dict[str, object]:
    """Return an entry of an annotations file: ten answers, three of them different."""
    asked = question(number)
    words = [WORDS[(number + n // 4) % len(WORDS)] for n in range(10)]
    answers = [
        {"answer": word, "answer_confidence": "yes", "answer_id": n}
        for n, word in enumerate(words, start=1)
    ]
    return {
        "question_type": "what is the",
        "multiple_choice_answer": words[0],
        "answers": answers,
        "image_id": asked["image_id"],
        "answer_type": "other",
        "question_id": asked["question_id"],
    }


def write(path: Path, key: str, subtype: str, entries: Iterable[dict[str, object]]) -> None:
    """Write a file in the official layout, entry by entry."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {{}}, "data_subtype": "{subtype}", "{key}": [')
        for number, entry in enumerate(entries):
            file.write((", " if number else "") + json.dumps(entry, ensure_ascii=False))
        file.write("]}")


def write_split(name: str, folder: Path, n_questions: int) -> None:
    """Write the files of a split, with an empty file for each image."""
    files = OFFICIAL_FILES[name]
    images = folder / files.image_folder
    images.mkdir(parents=True)
    for image_id in range(1, n_questions // QUESTIONS_PER_IMAGE + 2):
        (images / files.image_name.format(image_id)).touch()
    subtype = files.subtypes[0]
    write(folder / files.questions, "questions", subtype, map(question, range(n_questions)))
    if files.annotations:
        entries = map(annotation, range(n_questions))
        write(folder / files.annotations, "annotations", subtype, entries)


def write_large(name: str, folder: Path, n_bytes: int) -> None:
    """Write a questions file of some size, about a single image that is there."""
    files = OFFICIAL_FILES[name]
    (folder / files.image_folder).mkdir(parents=True)
    (folder / files.image_folder / files.image_name.format(1)).touch()
    size = len(json.dumps(question(n_bytes // 200))) + 2
    entries = itertools.islice(map(question, itertools.count()), n_bytes // size)
    write(folder / files.questions, "questions", files.subtypes[0], entries)


def measure(what: str, folder: Path, program: str) -> Row:
    """Run a program in a process of its own; take its time and its peak memory."""
    n_bytes = sum(path.stat().st_size for path in folder.glob("*.json"))
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "LANG": "C"})  # noqa: S603
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{what}: the process ended with code {process.returncode}")
    return Row(what, n_bytes, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def measure_all(folder: Path, n_large_bytes: int) -> list[Row]:
    """Write the files, and measure each way of reading them; the limits hold for the first row."""
    val, large = folder / "val", folder / "large"
    write_split("vqa_v2_val", val, OFFICIAL_FILES["vqa_v2_val"].n_questions)
    write_large("vqa_v2_test", large, n_large_bytes)
    load = "load_official({!r}, Path({!r})).records".format
    read = "read_questions({!r}, Path({!r}))".format
    programs = [
        ("data check, VQAv2 val", val, CHECK.format(folder=str(val))),
        ("load_official, VQAv2 val", val, LOAD.format(call=load("vqa_v2_val", str(val)))),
        ("data check, large questions file", large, CHECK.format(folder=str(large))),
        ("read_questions, the same", large, LOAD.format(call=read("vqa_v2_test", str(large)))),
        ("load_official, the same", large, LOAD.format(call=load("vqa_v2_test", str(large)))),
    ]
    return [measure(*program) for program in programs]


def render(rows: Sequence[Row]) -> str:
    """Write the rows as a table."""
    lines = [
        "| what | files, MB | wall time, s | processor time, s | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.n_bytes / 1e6:.0f} | {row.seconds:.1f} | "
        f"{row.processor_seconds:.1f} | {row.peak_bytes / 1e6:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and compare the first row with its limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--large-mb", type=int, default=500, metavar="MB", help="default: %(default)s"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_all(Path(folder), options.large_mb * 1000**2)
    print(render(rows))
    return int(rows[0].seconds > MOST_SECONDS or rows[0].peak_bytes > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
