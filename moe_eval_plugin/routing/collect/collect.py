"""Collect a routing trace: put the real prompts of tasks to a model, and record its routers.

What is recorded is the model at the k of the request, the published one unless it names another. At
another k the inputs of later layers are others too, so statistics of what a smaller k would keep
describe the states of the recorded model.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.exit_codes import errors_are_raised
from moe_eval_plugin.hosts.harness import LM_EVAL
from moe_eval_plugin.prompts.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.override.recording.recorded import RecordedChoices
    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.routing.collect.recording_model import RecordingModel
    from moe_eval_plugin.routing.collect.request import RoutingRequest
    from moe_eval_plugin.routing.trace import RoutingTrace

logger = logging.getLogger(__name__)
# Texts of about equal length are found among the questions of so many batches.
BATCHES_AT_ONCE = 4


def collect(request: RoutingRequest, progress: Progress | None = None) -> RoutingTrace:
    """Return what the routers of a model chose for the prompts of tasks; nothing is scored.

    k is observed on the first questions of each task before any are recorded. Each token of a
    question is recorded once: where several texts begin alike, as the choices of a multiple-choice
    question do, only what follows is recorded of the later ones. Questions are recorded from the
    first on, until ``limit`` or the task's share of ``max_tokens``.

    Raises ``UserError`` for what the host or the model does not have, ``OverrideNotEffectiveError``
    where tokens use another k, and ``MeasurementError`` where no choice can be recorded.

    Example::

        trace = collect(RoutingRequest("demo", ("easy_vqa",), limit=20))
    """
    from moe_eval_plugin.prompts.loading import load_tasks, read_model
    from moe_eval_plugin.routing.collect.as_trace import as_trace
    from moe_eval_plugin.sweeps.identity.fingerprint import model_settings

    shown = progress or NoProgress()
    host = request.checked_harness()
    with errors_are_raised():
        source = read_model(request, host, shown, lacking="routers")
        tasks = load_tasks(source, shown)
        names = tuple(tasks.n_questions(request.limit))
        with source.loaded(_class_of, shown) as model:
            choices = _record(request, tasks, model, shown)
            found = dict(model_settings(model.engine_request.model))
    revision = found.pop("model revision", None)
    weights = "+".join(str(digest) for digest in found.values() if digest) or None
    return as_trace(choices, names, request.pretrained, revision, weights)


def _class_of(host: str, *, takes_images: bool) -> Any:  # noqa: ANN401  (one of three)
    """Import the class of models that record, for a host."""
    if host == LM_EVAL:
        from moe_eval_plugin.routing.collect import lm_eval_model

        return lm_eval_model.RecordingMultimodalLM if takes_images else lm_eval_model.RecordingLM
    from moe_eval_plugin.routing.collect.lmms_eval_model import RecordingMoEHF

    return RecordingMoEHF


def _record(
    request: RoutingRequest, tasks: LoadedTasks, model: RecordingModel, progress: Progress
) -> RecordedChoices:
    """Verify k and record the choices, task by task."""
    from moe_eval_plugin.override.recording.record_choices import record_choices
    from moe_eval_plugin.routing.collect.recording_model import Labeller

    counts = tasks.n_questions(request.limit)
    share = max(1, request.max_tokens // max(1, len(counts)))
    labeller = Labeller(request.batch_size, request.new_tokens)
    requests = {task: tasks.requests(model, task, range(n)) for task, n in counts.items() if n}
    for task, of_task in requests.items():
        progress.doing(f"{task}: verifying the experts that tokens use")
        model.verify(of_task)
    with record_choices(model.module, end_ids=model.end_tokens) as recorder:
        for number, task in enumerate(counts):
            questions = _by_question(requests.get(task, ()))
            progress.counting(task, len(questions), "questions")
            n_before = recorder.n_tokens
            n_asked = 0
            for several in _chunks(questions, BATCHES_AT_ONCE * request.batch_size):
                if recorder.n_tokens - n_before >= share:
                    logger.warning(
                        "%s: recorded the first %d of %d questions, with %d tokens (max_tokens).",
                        *(task, n_asked, len(questions), recorder.n_tokens - n_before),
                    )
                    break
                labeller.begin(number)
                model.record(recorder, [one for of_one in several for one in of_one], labeller)
                n_asked += len(several)
                progress.advance(len(several))
        return recorder.result()


def _by_question(requests: Sequence[Any]) -> list[list[Any]]:
    """Return the requests of each question, in the order of the host."""
    questions: dict[object, list[Any]] = {}
    for request in requests:
        questions.setdefault(request.doc_id, []).append(request)
    return list(questions.values())


def _chunks(questions: Sequence[list[Any]], size: int) -> Iterator[Sequence[list[Any]]]:
    return (questions[begin : begin + size] for begin in range(0, len(questions), size))
