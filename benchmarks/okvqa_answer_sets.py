"""Score people's own answers to OK-VQA in every mode, on both sets of answers.

Run ``python benchmarks/okvqa_answer_sets.py FOLDER`` in an environment with the package. FOLDER
holds the official ``mscoco_val2014_annotations.json`` and ``raw_answers.json``, a list of objects
with ``question_id`` and ``answers``: the same answers in the same order, as people wrote them. Both
may lie up to two folders deep. It prints the figures of docs/explanation/vqa-scores.md as Markdown
tables.

No model is asked. What stands for its answers is made from the raw ones, in three ways: the most
frequent one; the same, as many models write it, with a capital and a period; and the answer of one
person, drawn by a fixed seed, against those of the four others.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from moe_eval_plugin.errors import DataError, UserError
from moe_eval_plugin.vqa.normalise import normalise_officially
from moe_eval_plugin.vqa.official_data import read_annotations
from moe_eval_plugin.vqa.scoring import (
    OFFICIAL,
    PLAIN_MODES,
    vqa_accuracy,
    with_stemmed_predictions,
)
from moe_eval_plugin.vqa.stemming import RAW, STEMMED, detect_answer_set, stem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from moe_eval_plugin.vqa.scoring import ScoringMode

SEED = 20_261_122
TIMES_LISTED = 2
RAW_FILE = "raw_answers.json"
VARIANT = ", `+stemmed-predictions`"
VERSIONS = ("moe-eval-plugin", "snowballstemmer", "nltk")

AnswerSet = dict[int, list[str]]


class Case(NamedTuple):
    """A prediction, and the answers to compare it with in each of the two sets."""

    prediction: str
    answers: Mapping[str, Sequence[str]]


def read_answers(folder: Path) -> dict[str, AnswerSet]:
    """Map the name of each answer set to the answers by question id; checks what they are."""
    stemmed = {
        question_id: annotation.answers
        for question_id, annotation in (read_annotations("okvqa", folder) or {}).items()
    }
    raw = read_raw_answers(folder)
    if {key: len(answers) for key, answers in raw.items()} != {
        key: len(answers) for key, answers in stemmed.items()
    }:
        message = f"{RAW_FILE} has other questions, or other numbers of answers, than the official"
        raise DataError(message + " file. Take both of the same release.")
    sets = {STEMMED: stemmed, RAW: raw}
    for name, answers in sets.items():
        found = detect_answer_set(answers.values())
        if found != name:
            message = f"The answers that should be {name} look {found}. Take the official files."
            raise DataError(message)
    return sets


def read_raw_answers(folder: Path) -> AnswerSet:
    """Read ``raw_answers.json``."""
    paths = [path for depth in ("", "*/", "*/*/") for path in folder.glob(depth + RAW_FILE)]
    if not paths:
        message = f"{RAW_FILE} was found neither in {folder} nor up to two folders below it."
        raise DataError(message)
    try:
        entries = json.loads(paths[0].read_text(encoding="utf-8"))
        return {entry["question_id"]: entry["answers"] for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{paths[0]} is no list of objects with question_id and answers: {error!r}."
        raise DataError(message) from error


def most_frequent(sets: Mapping[str, AnswerSet]) -> list[Case]:
    """Predict what most people wrote."""
    return [
        Case(most_common(answers), {name: sets[name][question_id] for name in sets})
        for question_id, answers in sets[RAW].items()
    ]


def most_common(answers: Sequence[str]) -> str:
    """Return the most frequent answer; of several, the first in the alphabet."""
    counts = Counter(answers)
    return min(counts, key=lambda text: (-counts[text], text))


def as_a_model_writes(cases: Iterable[Case]) -> list[Case]:
    """Return each prediction with a capital and a period."""
    return [Case(case.prediction.capitalize() + ".", case.answers) for case in cases]


def one_person(sets: Mapping[str, AnswerSet]) -> list[Case]:
    """Predict what one person wrote, and compare with the four others.

    OK-VQA asked five people, and lists each of their answers twice, so that there are ten.
    """
    chance = random.Random(SEED)  # noqa: S311 - draws people, not secrets
    cases = []
    for question_id, answers in sets[RAW].items():
        first = chance.randrange(0, len(answers), TIMES_LISTED)
        others = {
            name: answered[question_id][:first] + answered[question_id][first + TIMES_LISTED :]
            for name, answered in sets.items()
        }
        cases.append(Case(answers[first], others))
    return cases


def mean_score(cases: Iterable[Case], answer_set: str, mode: ScoringMode) -> float:
    """Return the mean VQA accuracy in per cent."""
    return 100 * fmean(
        vqa_accuracy(case.prediction, case.answers[answer_set], mode) for case in cases
    )


def table_of_modes(predictions: Mapping[str, Sequence[Case]]) -> list[str]:
    """Return a row for each kind of prediction and mode, with its scores."""
    columns = (f"{name} answers{suffix}" for suffix in ("", VARIANT) for name in (STEMMED, RAW))
    lines = [f"| prediction | mode | {' | '.join(columns)} |", "|---|---|---|---|---|---|"]
    for kind, cases in predictions.items():
        for mode in PLAIN_MODES:
            scores = [
                f"{mean_score(cases, answer_set, variant):.2f}"
                for variant in (mode, with_stemmed_predictions(mode))
                for answer_set in (STEMMED, RAW)
            ]
            lines.append(f"| {kind} | `{mode.name}` | {' | '.join(scores)} |")
    return lines


def stemmers() -> dict[str, Callable[[str], str]]:
    """List ways to stem a text word by word, by name; NLTK's only where it is installed."""
    from snowballstemmer.porter_stemmer import PorterStemmer

    ways: dict[str, Callable[[str], str]] = {
        "none": str,
        "Snowball English (snowballstemmer)": stem,
        "Porter (snowballstemmer)": word_by_word(lambda word: str(PorterStemmer().stemWord(word))),
    }
    try:
        from nltk.stem.porter import PorterStemmer as NltkPorterStemmer
    except ImportError:
        return ways
    return {**ways, "Porter (nltk)": word_by_word(NltkPorterStemmer().stem)}


def word_by_word(stem_word: Callable[[str], str]) -> Callable[[str], str]:
    """Return a function that stems each word of a text."""
    remembered = cache(stem_word)
    return lambda text: " ".join(map(remembered, text.split()))


def table_of_stemmers(sets: Mapping[str, AnswerSet], cases: Sequence[Case]) -> list[str]:
    """Return a row for each stemmer: how well it turns the raw set into the stemmed one."""
    columns = (
        "stemmer",
        "raw answers that it turns into stemmed ones",
        "score, predictions stemmed",
        "score, both sides stemmed",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, way in stemmers().items():
        alone, both = (
            100
            * fmean(
                vqa_accuracy(
                    way(normalise_officially(case.prediction)),
                    [side(normalise_officially(text)) for text in case.answers[STEMMED]],
                    OFFICIAL,
                )
                for case in cases
            )
            for side in (str, way)
        )
        lines.append(f"| {name} | {agreement(sets, way):.1f}% | {alone:.2f} | {both:.2f} |")
    return lines


def agreement(sets: Mapping[str, AnswerSet], way: Callable[[str], str]) -> float:
    """Return the share, in per cent, of raw answers whose stem is in the stemmed set."""
    n_agreed = sum(
        (Counter(map(way, answers)) & Counter(sets[STEMMED][question_id])).total()
        for question_id, answers in sets[RAW].items()
    )
    return 100 * n_agreed / sum(map(len, sets[RAW].values()))


def installed(name: str) -> str:
    """Return the name of a package with its version."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the two files lie")
    options = parser.parse_args(arguments)
    try:
        sets = read_answers(options.folder)
    except UserError as error:
        parser.error(str(error))
    frequent, person = most_frequent(sets), one_person(sets)
    predictions = {
        "most frequent answer": frequent,
        "the same, `Like this.`": as_a_model_writes(frequent),
        "one person's answer": person,
    }
    facts = f"n = {len(frequent):,} questions, seed {SEED}, {datetime.now(UTC).date()}"
    print("\n".join(table_of_modes(predictions)), end="\n\n")
    print("\n".join(table_of_stemmers(sets, person)), end="\n\n")
    print(f"{facts}, {', '.join(map(installed, VERSIONS))}.")


if __name__ == "__main__":
    main()
