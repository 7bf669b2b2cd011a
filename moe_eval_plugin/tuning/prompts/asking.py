"""Put the drawn questions to the published model, and keep the prompts with its answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.request import PROMPTS_TO_VERIFY
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.experts.schedules.tuning_record import CalibrationQuestions
from moe_eval_plugin.tuning.calibration import CalibrationPrompts
from moe_eval_plugin.tuning.prompts.batches import in_batches, prompt_batch
from moe_eval_plugin.tuning.prompts.model import RefusedPromptError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.tuning.calibration import PromptBatch
    from moe_eval_plugin.tuning.prompts.batches import Prompt
    from moe_eval_plugin.tuning.prompts.drawing import Drawn
    from moe_eval_plugin.tuning.prompts.model import PromptModel
    from moe_eval_plugin.tuning.prompts.request import CalibrationRequest

logger = logging.getLogger(__name__)


def ask(
    request: CalibrationRequest,
    tasks: LoadedTasks,
    drawn: Sequence[Drawn],
    model: PromptModel,
    progress: Progress,
) -> CalibrationPrompts:
    """Return the prompts of the drawn questions with their answers, at the k that is in force.

    k is observed on the first questions of each task before any is answered. A question that
    cannot be put to the model is replaced by the next one of the draw. Raises ``UserError`` where
    none of a task can be.
    """
    batches: list[PromptBatch] = []
    found: list[CalibrationQuestions] = []
    n_before = 0
    for one in drawn:
        with tasks.asking({one.task: one.split}):
            of_questions = _usable(one, tasks, model, progress)
            batches += _answered(request, one.task, of_questions, n_before, model, progress)
        n_before += len(of_questions)
        doc_ids = tuple(sorted(of_questions))
        found.append(
            CalibrationQuestions(one.task, request.host, one.split, doc_ids, one.is_evaluated)
        )
    return CalibrationPrompts(batches, tuple(found))


def _usable(
    drawn: Drawn, tasks: LoadedTasks, model: PromptModel, progress: Progress
) -> dict[int, list[Prompt]]:
    """Return the prompts of the first drawn questions that can be put to the model."""
    progress.counting(f"{drawn.task}: encoding questions", drawn.n_wanted, "questions")
    found: dict[int, list[Prompt]] = {}
    first: list[Any] = []
    begin, last = 0, ""
    while len(found) < drawn.n_wanted and begin < len(drawn.positions):
        end = begin + drawn.n_wanted - len(found)
        for requests in _by_question(drawn, tasks, model, drawn.positions[begin:end]):
            try:
                prompts = model.prompts_of(requests)
            except RefusedPromptError as error:
                last = str(error)
                logger.warning("%s. It is replaced by another question.", error)
                continue
            if len(found) < PROMPTS_TO_VERIFY:
                first += requests
            found[requests[0].doc_id] = prompts
            progress.advance()
        begin = end
    if not found:
        message = (
            f"None of the {len(drawn.positions):,} questions of {drawn.task} can be put to the "
            f"model. The last: {last}. Check the data and the model, or name another task."
        )
        raise UserError(message)
    model.verify(first)
    if len(found) < drawn.n_wanted:
        logger.warning(
            "%s: only %d of its questions can be put to the model, fewer than the %d wanted.",
            *(drawn.task, len(found), drawn.n_wanted),
        )
    return found


def _by_question(
    drawn: Drawn, tasks: LoadedTasks, model: PromptModel, positions: Sequence[int]
) -> Iterator[list[Any]]:
    """Yield the host's requests of each question.

    Raises ``UserError`` where the host cannot build them, as it may be with the data of a split
    that it does not evaluate, or with a kind of task that it does not ask such models.
    """
    try:
        requests = tasks.requests(model, drawn.task, positions)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        message = (
            f"Questions of the split {drawn.split} of {drawn.task} cannot be put together: "
            f"{type(error).__name__}: {error}. Name another split or task."
        )
        raise UserError(message) from error
    questions: dict[int, list[Any]] = {}
    for request in requests:
        questions.setdefault(request.doc_id, []).append(request)
    yield from questions.values()


def _answered(
    request: CalibrationRequest,
    task: str,
    of_questions: dict[int, list[Prompt]],
    n_before: int,
    model: PromptModel,
    progress: Progress,
) -> Iterator[PromptBatch]:
    """Yield the prompts of one task in batches, with answers; questions count from ``n_before``."""
    prompts = [prompt for of_one in of_questions.values() for prompt in of_one]
    numbers = {question: n_before + n for n, question in enumerate(sorted(of_questions))}
    progress.counting(f"{task}: answers of the published model", len(prompts), "prompts")
    for batch in in_batches(prompts, request.batch_size):
        inputs, answers = model.encoded_with_answers(batch, request.answer_tokens)
        questions = [numbers[prompt.question] for prompt in batch]
        yield prompt_batch(model.loaded.module, inputs, answers, questions)
        progress.advance(len(batch))
