"""Time the VQA scorers of this package against lmms-eval's own, and compare every score.

Run ``python benchmarks/vqa_scoring.py FOLDER`` in an environment with the package. FOLDER holds
the official annotation files of OK-VQA and VQAv2 (val2014), up to two folders deep. Questions and
predictions are drawn from their answers. Each is scored once by either side, in turns of 1,000,
without a warm-up. Times are processor times on one core, so that other work on the machine
counts for neither. The exit code is 1 if a score differs, or if ours are not as many times
faster as ``--at-least`` says.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.vqa.normalise import normalise
from moe_eval_plugin.vqa.official_data import read_annotations
from moe_eval_plugin.vqa.scoring import LMMS_OKVQA, LMMS_VQAV2, vqa_accuracy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.vqa.scoring import ScoringMode

SEED = 20_261_122
TURN = 1_000
N_VQA_V2_VAL = 214_354
N_STRINGS = 11
# Scores lie between 0 and 1; the last bit depends on the order of additions.
SMALLEST_DIFFERENCE = 1e-9
SHARE_OF_OWN_ANSWERS = 0.8
SHARE_OF_CAPITALS = 0.5
# What models make of an answer: half of the predictions get nothing more than a capital.
WRITINGS = (
    *["{}"] * 8,
    *("{}.", "{}\n", " {}", "a {}", "the {}", '"{}"', "The answer is {}.", "{}, {}"),
)


class Case(NamedTuple):
    """A prediction, and the answers to compare it with."""

    prediction: str
    answers: list[str]


class Timed(NamedTuple):
    """What both sides took, in seconds, and on how many cases they disagree."""

    ours_s: float
    theirs_s: float
    n_different: int

    @property
    def ratio(self) -> float:
        """How many times as fast this package is."""
        return self.theirs_s / self.ours_s


def draw_cases(folder: Path, n: int) -> list[Case]:
    """Draw questions, and for each a prediction: most often one of its own answers."""
    questions = [
        annotation.answers
        for name in ("okvqa", "vqa_v2_val")
        for annotation in (read_annotations(name, folder) or {}).values()
    ]
    chance = random.Random(SEED)  # noqa: S311 - draws cases, not secrets
    cases = []
    for _ in range(n):
        answers = chance.choice(questions)
        source = answers if chance.random() < SHARE_OF_OWN_ANSWERS else chance.choice(questions)
        text = chance.choice(WRITINGS).replace("{}", chance.choice(source))
        capital = chance.random() < SHARE_OF_CAPITALS
        cases.append(Case(text.capitalize() if capital else text, answers))
    return cases


def document_of_vqa_v2(case: Case) -> dict[str, Any]:
    """Lay out a case as lmms-eval's ``vqav2`` reads it; its scorer overwrites the answers."""
    answers = [{"answer": text, "answer_id": n} for n, text in enumerate(case.answers, start=1)]
    return {"question_id": 1, "answers": answers}


def document_of_okvqa(case: Case) -> dict[str, Any]:
    """Lay out a case as lmms-eval's ``ok_vqa`` reads it; its scorer overwrites the answers."""
    return {"question_id": 1, "answers": [*case.answers]}


def compare(
    cases: Sequence[Case],
    mode: ScoringMode,
    theirs: Callable[[Any, Any], Any],
    document: Callable[[Case], dict[str, Any]],
) -> Timed:
    """Score each case by both sides, in turns that either side begins as often."""
    spent_s = {"ours": 0.0, "theirs": 0.0}
    n_different = 0
    for start in range(0, len(cases), TURN):
        turn = cases[start : start + TURN]
        documents = [document(case) for case in turn]
        scores: dict[str, list[float]] = {}
        for side in ("ours", "theirs") if start // TURN % 2 else ("theirs", "ours"):
            began_s = time.process_time()
            if side == "ours":
                scores[side] = [vqa_accuracy(*case, mode) for case in turn]
            else:
                pairs = zip(documents, turn, strict=True)
                scores[side] = [theirs(doc, [case[0]])["exact_match"] for doc, case in pairs]
            spent_s[side] += time.process_time() - began_s
        both = zip(scores["ours"], scores["theirs"], strict=True)
        n_different += sum(abs(one - other) > SMALLEST_DIFFERENCE for one, other in both)
    return Timed(spent_s["ours"], spent_s["theirs"], n_different)


def time_of_a_new_string_s(strings: set[str]) -> float:
    """Return the seconds of normalising a string that did not occur before."""
    unremembered: Callable[[str], str] = vars(normalise)["__wrapped__"]
    began_s = time.process_time()
    for text in strings:
        unremembered(text)
    return (time.process_time() - began_s) / len(strings)


def report(timed: dict[str, Timed], cases: Sequence[Case]) -> str:
    """Write the figures as a Markdown table, with what they depend on."""
    strings = {text for case in cases for text in (case.prediction, *case.answers)}
    new_s = time_of_a_new_string_s(strings)
    n_strings = N_STRINGS * len(cases)
    worst_s = N_STRINGS * N_VQA_V2_VAL * new_s
    rows = [
        f"| {name} | {one.ours_s:.2f} s | {one.theirs_s:.1f} s | {one.ratio:.0f} | "
        f"{one.n_different} |"
        for name, one in timed.items()
    ]
    lines = [
        "| mode | ours | lmms-eval | ratio | scores that differ |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"{len(cases):,} questions, {len(strings):,} different strings among {n_strings:,}.",
        f"A string that did not occur before takes {1e6 * new_s:.1f} microseconds: if no string",
        f"occurred twice, the {N_VQA_V2_VAL:,} questions of VQAv2 val would take {worst_s:.0f} s.",
        f"{datetime.now(UTC).date()}, lmms-eval {version('lmms-eval')},",
        f"Python {platform.python_version()}.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the official annotation files lie")
    parser.add_argument("--n", type=int, default=200_000, help="questions; default: %(default)s")
    parser.add_argument("--at-least", type=float, default=10, help="ratio; default: %(default)s")
    options = parser.parse_args(arguments)
    if options.n < 1:
        parser.error(f"--n {options.n} is not possible: use a number from 1 upwards")
    try:
        cases = draw_cases(options.folder, options.n)
    except UserError as error:
        parser.error(str(error))
    from lmms_eval.tasks.ok_vqa.utils import ok_vqa_process_results
    from lmms_eval.tasks.vqav2.utils import vqav2_process_results

    timed = {
        "lmms-vqav2": compare(cases, LMMS_VQAV2, vqav2_process_results, document_of_vqa_v2),
        "lmms-okvqa": compare(cases, LMMS_OKVQA, ok_vqa_process_results, document_of_okvqa),
    }
    print(report(timed, cases))
    equal = not any(one.n_different for one in timed.values())
    fast = all(one.ratio >= options.at_least for one in timed.values())
    print(f"All scores are equal: {'yes' if equal else 'NO'}. ", end="")
    print(f"At least {options.at_least:g} times as fast: {'yes' if fast else 'NO'}.")
    return 0 if equal and fast else 1


if __name__ == "__main__":
    sys.exit(main())
