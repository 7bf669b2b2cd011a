"""Write submissions to leaderboards: all answers to a split of VQAv2 or OK-VQA in one file.

The format is that of https://visualqa.org/evaluation.html, for both data sets: an array of objects
with an integer ``question_id`` and a string ``answer``. The official script and the server refuse
a file whose question ids are not exactly those of the split.

The names of the files have two sources. The challenge asked for a name in 2016 alone, as
``vqa_OpenEnded_mscoco_test2015_METHOD_results.json``
(https://visualqa.org/challenge_2016.html); the guidelines since 2017 ask for none, so the old name
does no harm. For validation, the script's own example opens a file named like the file of
questions, with ``METHOD_results`` instead of ``questions``; VQAv2 adds the prefix ``v2_``
(https://github.com/GT-Vision-Lab/VQA). OK-VQA has no challenge and uses that script.

Test-dev, test-standard and test-challenge are parts of test2015, and which question is in which
part is published for test-dev alone. One file with all 447,793 answers serves every phase. The
server of the last challenge, of 2021, accepts no other file, unlike earlier ones not even in its
test-dev phase; its message is quoted in https://github.com/X-PLUG/mPLUG-DocOwl/issues/55.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from statistics import fmean
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.experts.schedules.routing_rule import NATIVE
from moe_eval_plugin.plugins.exporter import Exported, Exporter
from moe_eval_plugin.publish.exports.answers import check_answers, describe_oddities, read_answers
from moe_eval_plugin.publish.exports.calibration_questions import notes_on_chosen
from moe_eval_plugin.text import HUNDRED
from moe_eval_plugin.vqa.dataset import DATA_VARIABLE, data_folder
from moe_eval_plugin.vqa.official_data import read_annotations, read_questions
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES
from moe_eval_plugin.vqa.scoring import OFFICIAL, vqa_accuracy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.results.run import Run, TaskRun
    from moe_eval_plugin.vqa.official_data import Annotation

MAX_METHOD_CHARACTERS = 80
NOT_IN_METHOD = re.compile(r"[^A-Za-z0-9.]+")
OVERALL = "overall"


@dataclass(frozen=True)
class Split:
    """How the answers of a task are submitted.

    ``data`` is a key of ``OFFICIAL_FILES``, ``file_name`` a template with the name of the method,
    and ``advice`` tells the user where to submit the file.
    """

    data: str
    file_name: str
    advice: str


SERVER = "https://eval.ai/web/challenges/challenge-page/830"
OKVQA_SPLIT = Split(
    "okvqa",
    "OpenEnded_mscoco_val2014_{}_results.json",
    "OK-VQA has no server: publish the accuracy, and keep the file.",
)
OKVQA_TASKS = {"okvqa": OKVQA_SPLIT, "okvqa_raw": OKVQA_SPLIT}
VQA_V2_TASKS = {
    "vqa_v2_val": Split(
        "vqa_v2_val",
        "v2_OpenEnded_mscoco_val2014_{}_results.json",
        "The server scores no validation answers: publish the accuracy, and keep the file.",
    ),
    "vqa_v2_test_dev": Split(
        "vqa_v2_test_dev",
        "vqa_OpenEnded_mscoco_test-dev2015_{}_results.json",
        f"{SERVER} refuses a file with these questions alone, even in its test-dev phase: run and "
        "export vqa_v2_test, which contains them.",
    ),
    "vqa_v2_test": Split(
        "vqa_v2_test",
        "vqa_OpenEnded_mscoco_test2015_{}_results.json",
        f"Upload this file at {SERVER}, in the phase test-dev or test-standard.",
    ),
}


def export_answers(
    splits: Mapping[str, Split], runs: Sequence[Run], task: str | None = None
) -> Exported:
    """Return the answers of each task in ``splits``, or of ``task`` alone.

    ``splits`` has the split of each task by its name. Raises ``InvalidArgumentError`` for several
    runs and for a task without a split, ``IncompleteRunError`` if a question of the split does not
    have exactly one valid answer, and ``DataError`` for files that cannot be read.
    """
    if len(runs) != 1:
        paths = "\n  ".join(str(run.path) for run in runs)
        message = f"A submission holds one run, and these are {len(runs)}:\n  {paths}\nPass one."
        raise InvalidArgumentError(message)
    files: dict[str, str] = {}
    notes: list[str] = []
    for chosen in _chosen(splits, runs[0], task):
        split = splits[chosen.task]
        name = split.file_name.format(_method(runs[0], chosen))
        if name in files:
            message = f"Two tasks would be written to {name}. Choose one of them with --task."
            raise InvalidArgumentError(message)
        files[name], said = _submission(runs[0], chosen, split)
        notes += [f"{chosen.task}: {note}" for note in said]
    return Exported(files, tuple(notes))


EXPORTERS = (
    Exporter(
        "evalai",
        "answers to VQAv2 (test, test-dev or validation), for the VQA Challenge on EvalAI",
        partial(export_answers, VQA_V2_TASKS),
    ),
    Exporter(
        "okvqa",
        "answers to OK-VQA, for the official script",
        partial(export_answers, OKVQA_TASKS),
    ),
)


def official_scores(text: str, annotations: Mapping[int, Annotation]) -> dict[str, float]:
    """Return the scores, from 0 to 1, that the official script gives a submission.

    They are the mean under ``overall``, and that of each answer type under its name. Raises
    ``DataError`` for a question without known answers.
    """
    scores: dict[str, list[float]] = {OVERALL: []}
    for entry in json.loads(text):
        annotation = annotations.get(entry["question_id"])
        if annotation is None:
            message = (
                f"Question {entry['question_id']} has no answers in the annotations, so the "
                "submission cannot be scored. Use the official files."
            )
            raise DataError(message)
        score = vqa_accuracy(entry["answer"], annotation.answers, OFFICIAL)
        scores[OVERALL].append(score)
        if annotation.answer_type:
            scores.setdefault(annotation.answer_type, []).append(score)
    return {name: fmean(scores[name]) for name in (OVERALL, *sorted(scores.keys() - {OVERALL}))}


def _chosen(splits: Mapping[str, Split], run: Run, task: str | None) -> list[TaskRun]:
    if task is not None and task not in splits:
        message = f"--task {task} has no such format. Use one of: {', '.join(splits)}."
        raise InvalidArgumentError(message)
    if task is not None:
        return [run.task(task)]
    found = [one for one in run.tasks if one.task in splits]
    if not found:
        names = ", ".join(one.task for one in run.tasks) or "none"
        message = (
            f"{run.path} has no task with this format; its tasks: {names}. Run one of: "
            f"{', '.join(splits)}."
        )
        raise DataError(message)
    return found


def _method(run: Run, task: TaskRun) -> str:
    """Return the name of the method for the file name: the checkpoint, k and routing rule."""
    experts = task.record.experts if task.record else None
    k = experts.experts_k if experts else None
    rules = (experts.experts_policy, experts.renorm) if experts else ()
    changes = [rule for rule in rules if rule not in (NATIVE.policy_text, NATIVE.renorm)]
    parts = [PurePath(run.checkpoint).name, *([f"k{k}"] if k else []), *map(str, changes)]
    name = NOT_IN_METHOD.sub("-", "-".join(parts))[:MAX_METHOD_CHARACTERS].strip("-.")
    return name or "model"


def _submission(run: Run, task: TaskRun, split: Split) -> tuple[str, list[str]]:
    """Return the text of one file, and notes for the user."""
    folder = data_folder()
    expected = None if folder is None else read_questions(split.data, folder).keys()
    answers = read_answers(run, task)
    check_answers(answers, expected, split.data, run, task)
    # ASCII only, so that no program can mistake the encoding. Sorted, so that equal answers make
    # equal files, however many processes wrote them.
    entries = [{"question_id": key, "answer": text} for key, text in sorted(answers.texts.items())]
    text = json.dumps(entries, ensure_ascii=True) + "\n"
    notes = [
        _checked(len(entries), split.data, by_id=expected is not None),
        *describe_oddities(answers),
        *notes_on_chosen([run], task.task),
        _scored(text, split.data, folder),
        split.advice,
    ]
    return text, notes


def _checked(n_questions: int, data: str, *, by_id: bool) -> str:
    files = OFFICIAL_FILES[data]
    if not by_id:
        return (
            f"{n_questions:,} questions, each answered once. Their number is right; their ids were "
            f"not compared, because {DATA_VARIABLE} is not a folder with {files.questions}"
        )
    checked = f"{n_questions:,} questions, each answered once, are those of {files.questions}"
    if n_questions == files.n_questions:
        return checked
    return f"{checked}; this is only a part of the split, which has {files.n_questions:,}"


def _scored(text: str, data: str, folder: Path | None) -> str:
    """Return the scores of the official script, in percent with two decimals, as a note."""
    if OFFICIAL_FILES[data].annotations is None:
        return "the answers are not public, so only the server can score this file"
    if folder is None:
        return f"set {DATA_VARIABLE} to a folder with the official files to have it scored"
    scores = official_scores(text, read_annotations(data, folder) or {})
    shown = [f"{name} {HUNDRED * score:.2f}" for name, score in scores.items()]
    return f"the official script scores this file: {', '.join(shown)}"
