"""Draw calibration questions: at random, and not from those that a task evaluates if it can be."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moe_eval_plugin.engines.request import joined_seed
from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.hosts.harness import LM_EVAL, LMMS_EVAL
from moe_eval_plugin.text import did_you_mean, first_few

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.hosts.shared.task_splits import TaskSplits
    from moe_eval_plugin.tuning.prompts.request import CalibrationRequest

logger = logging.getLogger(__name__)

# By host, the kinds of tasks whose prompts are known before anything is answered. lmms-eval puts
# nothing that is scored together for chat models, as ours are.
GENERATED, SCORED = "generate_until", ("loglikelihood", "loglikelihood_rolling", "multiple_choice")
KNOWN_PROMPTS = {LMMS_EVAL: (GENERATED,), LM_EVAL: (GENERATED, *SCORED)}


@dataclass(frozen=True)
class Drawn:
    """The questions of one task in the order in which they are drawn."""

    task: str
    """Name of the task."""
    split: str
    """Split of its data."""
    is_evaluated: bool
    """Whether the task asks the questions of this split."""
    n_wanted: int
    """Number of questions that are needed; later ones replace those that cannot be asked."""
    positions: Sequence[int]
    """Numbers of all questions of the split, in random order."""


def draw(request: CalibrationRequest, tasks: LoadedTasks) -> list[Drawn]:
    """Draw the questions of each task; the same seed draws the same ones.

    Raises ``UserError`` for tasks that cannot be calibrated with: one without questions, one that
    asks in several rounds, one that scores given texts with lmms-eval, and where there are fewer
    questions than wanted.
    """
    kinds, splits = tasks.output_types(), tasks.splits()
    _check_kinds(kinds, request.host)
    chosen = {task: _split(request, task, one) for task, one in splits.items()}
    with tasks.asking(chosen):
        counts = tasks.n_questions(request.limit)
    shares = _shares(request.n_questions, list(counts))
    found = []
    for task, n_questions in counts.items():
        split = chosen[task]
        _check_count(task, split, n_questions, shares[task])
        generator = np.random.default_rng(joined_seed((request.seed, task, split)))
        order = generator.permutation(n_questions).tolist()
        is_evaluated = split == splits[task].evaluated
        if is_evaluated:
            _warn_of_evaluated(task, splits[task])
        found.append(Drawn(task, split, is_evaluated, shares[task], order))
    return found


def _split(request: CalibrationRequest, task: str, splits: TaskSplits) -> str:
    """Return the split to draw from.

    Raises ``InvalidArgumentError`` for one that the data of the task do not have.
    """
    if request.split is None:
        return splits.training or splits.evaluated
    if request.split not in splits.names:
        message = (
            f"The data of {task} have no split {request.split}."
            f"{did_you_mean(request.split, splits.names)} They have {', '.join(splits.names)}. "
            "Name one of these, or none: then it is that for training, where there is one."
        )
        raise InvalidArgumentError(message)
    return request.split


def _warn_of_evaluated(task: str, splits: TaskSplits) -> None:
    others = [name for name in splits.names if name != splits.evaluated]
    names = ", ".join(others)
    more = f" Its data also have {names}: name one with --calibration-split." if others else ""
    logger.warning(
        "%s: calibration questions are drawn from %s, the split that it evaluates. They can judge "
        "nothing that is found: reports and comparisons leave them out.%s",
        *(task, splits.evaluated, more),
    )


def _check_kinds(kinds: dict[str, str], host: str) -> None:
    scored = [task for task, kind in kinds.items() if kind in SCORED]
    if scored and not set(SCORED) & set(KNOWN_PROMPTS[host]):
        message = (
            f"No calibration is possible with {', '.join(scored)}: {host} scores given texts, "
            "choices for instance, with models without a chat template alone. Name a task that "
            "generates answers, or one of lm-eval with --host lm-eval."
        )
        raise UserError(message)
    bad = [task for task, kind in kinds.items() if kind not in KNOWN_PROMPTS[host]]
    if bad:
        message = (
            f"No calibration is possible with {', '.join(bad)}: later prompts of several rounds "
            "depend on the model's answers, so they are not known before. Name other tasks."
        )
        raise UserError(message)


def _shares(n_questions: int, tasks: Sequence[str]) -> dict[str, int]:
    """Share questions equally; the first tasks get one more where they do not divide."""
    if n_questions < len(tasks):
        message = (
            f"{n_questions} calibration questions cannot be shared by {len(tasks)} tasks "
            f"({first_few(tasks)}). Use {len(tasks)} questions or more, or fewer tasks."
        )
        raise InvalidArgumentError(message)
    each, rest = divmod(n_questions, len(tasks))
    return {task: each + (number < rest) for number, task in enumerate(tasks)}


def _check_count(task: str, split: str, n_questions: int, n_wanted: int) -> None:
    if not n_questions:
        message = f"The split {split} of {task} has no questions. Name another split or task."
        raise UserError(message)
    if n_wanted > n_questions:
        message = (
            f"{n_wanted:,} calibration questions of {task} are too many: its split {split} has "
            f"{n_questions:,}. Use fewer, or name another split."
        )
        raise InvalidArgumentError(message)
