"""Read the requests of lmms-eval as jobs for an engine."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lmms_eval.protocol import ChatMessages

from moe_eval_plugin.engines.generation import KNOWN, GenerationSettings, read_settings
from moe_eval_plugin.engines.request import Job, JobSeeds
from moe_eval_plugin.hosts.exit_codes import errors_are_raised

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from lmms_eval.api.instance import Instance
    from lmms_eval.api.model import lmms

    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.hosts.run_options import RunOptions
    from moe_eval_plugin.results.record import RunRecord

PADDING = "__padding_only__"
# Columns that name a question, in the data of lmms-eval's tasks.
QUESTION_IDS = ("question_id", "questionId", "id")
# Columns that name an image.
IMAGE_IDS = ("image_id", "imageId", "img_id", "image_path", "img_path", "image_name", "image_file")

logger = logging.getLogger(__name__)


class Answered(Protocol):
    """An engine's answer, as far as the next round needs it."""

    @property
    def text(self) -> str:
        """The text that the model wrote."""


AnswerT = TypeVar("AnswerT", bound=Answered)


class RequestReader:
    """Reads the requests that lmms-eval passes to a model; images are read when a job is built.

    ``model`` is the host's model, which holds the documents of each task.
    """

    def __init__(self, model: lmms, options: RunOptions) -> None:
        self._model = model
        self._options = options
        self._ignored: set[str] = set()
        self._image_ids: dict[tuple[str, str], Sequence[Hashable] | None] = {}

    def jobs(self, requests: Sequence[Instance], seed: int) -> list[Job]:
        """Read requests for answers, task by task, without those that only pad this rank.

        ``seed`` is that of the run, for answers that are sampled.
        """
        seeds = JobSeeds(seed)
        return _by_task(self._job(i, request, seeds) for i, request in _without_padding(requests))

    def scoring_jobs(self, requests: Sequence[Instance]) -> list[Job]:
        """Read requests for the likelihood of a continuation, as ``jobs`` does."""
        return _by_task(self._scoring_job(i, request) for i, request in _without_padding(requests))

    def _job(self, index: int, request: Instance, seeds: JobSeeds) -> Job:
        context, doc_to_messages, gen_kwargs, *_ = request.args

        def build() -> Conversation:
            with errors_are_raised():
                return self.conversation(doc_to_messages(self.document(request)))

        return Job(
            index=index,
            task=request.task_name,
            question=request.doc_id,
            context=context if isinstance(context, str) else "",
            build=build,
            settings=self.settings(gen_kwargs),
            read_id=partial(self._question_id, request),
            read_image_key=partial(self._image_key, request),
            seed=seeds.next(request.task_name, request.doc_id),
        )

    def _scoring_job(self, index: int, request: Instance) -> Job:
        context, continuation, doc_to_visual, *_ = request.args

        def build() -> Conversation:
            with errors_are_raised():
                visuals = doc_to_visual(self.document(request)) if doc_to_visual else []
            parts = [{"type": "image", "url": visual} for visual in visuals or []]
            content = [*parts, {"type": "text", "text": context}]
            return self.conversation([{"role": "user", "content": content}])

        def scored_text() -> str:
            chosen = continuation
            return str(chosen(self.document(request)) if callable(chosen) else chosen)

        return Job(
            index=index,
            task=request.task_name,
            question=request.doc_id,
            context=context,
            build=build,
            settings=self.settings({}),
            continuation=scored_text,
            read_id=partial(self._question_id, request),
        )

    def document(self, request: Instance) -> Any:  # noqa: ANN401  (the task's own)
        """Return the row of the data that a request is about."""
        doc_id, task, split = request.args[3:6]
        return self._model.task_dict[task][split][doc_id]

    def _question_id(self, request: Instance) -> object:
        """Return the id that the data give a question; ``None`` if none. No image is decoded."""
        doc_id, task, split = request.args[3:6]
        rows = self._model.task_dict[task][split]
        columns = getattr(rows, "column_names", None)
        for name in QUESTION_IDS:
            if columns is None:
                if name in rows[doc_id]:
                    return rows[doc_id][name]
            elif name in columns:
                return rows.select_columns([name])[doc_id][name]
        return None

    def _image_key(self, request: Instance) -> Hashable | None:
        """Return the id that the data give a question's image; ``None`` if none."""
        doc_id, task, split = request.args[3:6]
        if (task, split) not in self._image_ids:
            rows = self._model.task_dict[task][split]
            columns = getattr(rows, "column_names", ())
            name = next((name for name in IMAGE_IDS if name in columns), None)
            # A column is read at once: reading it row by row takes seconds.
            ids = None if name is None else rows.select_columns([name])[:][name]
            self._image_ids[task, split] = ids
        known = self._image_ids[task, split]
        found = None if known is None else known[doc_id]
        return found if isinstance(found, int | str) else None

    def conversation(self, messages: list[dict[str, Any]]) -> Conversation:
        """Convert messages of the host to those of transformers, after the system prompt."""
        if self._options.system_prompt:
            messages = self._model._apply_system_prompt(messages, self._options.system_prompt)  # noqa: SLF001  (the host's own way to do it)
        conversation: Conversation = ChatMessages(messages=messages).to_hf_messages()
        return conversation

    def all_rounds(
        self,
        request: Instance,
        build: Callable[[], Conversation],
        answer: Callable[[Callable[[], Conversation]], Sequence[AnswerT]],
    ) -> list[AnswerT]:
        """Answer all rounds of a request; each round's messages depend on the answers before it.

        ``build`` makes the conversation of the first round, and ``answer`` returns the engine's
        answer to a round: one, or none to a round that is refused. Then the request has none.
        """
        doc_to_messages, info = request.args[1], None
        answers: list[AnswerT] = []
        while True:
            answered = answer(build)
            if not answered:
                return []
            answers += answered
            following = doc_to_messages(
                self.document(request),
                round_idx=len(answers),
                previous_output=[one.text for one in answers],
                previous_round_info=info,
            )
            if not isinstance(following, tuple) or following[1]:
                return answers
            messages, _, _, info = following
            build = partial(self.conversation, messages)

    def settings(self, gen_kwargs: Mapping[str, Any]) -> GenerationSettings:
        """Read a task's generation arguments; those without effect are logged once."""
        unknown = set(gen_kwargs) - KNOWN
        if unknown - self._ignored:
            self._ignored |= unknown
            logger.warning("Generation arguments not used here: %s", ", ".join(sorted(unknown)))
        return read_settings(gen_kwargs, self._options.max_new_tokens)


def settings_by_task(jobs: Sequence[Job]) -> dict[str, list[dict[str, Any]]]:
    """Return the distinct generation settings of each task, as plain JSON data; mostly one."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for job in jobs:
        if job.continuation is None:
            found.setdefault(job.task, {})[job.settings.key] = job.settings.to_dict()
    return {task: [*settings.values()] for task, settings in found.items()}


def with_settings(
    records: Mapping[str, RunRecord], settings: Mapping[str, list[dict[str, Any]]]
) -> dict[str, RunRecord]:
    """Return records with the generation settings of their tasks in their provenance."""
    return {
        task: record.with_provenance(generation=settings.get(task, []))
        for task, record in records.items()
    }


def _without_padding(requests: Sequence[Instance]) -> Iterator[tuple[int, Instance]]:
    """Yield requests with their position, without those that only make ranks equally long."""
    for index, request in enumerate(requests):
        if not request.metadata.get(PADDING):
            yield index, request


def _by_task(jobs: Iterable[Job]) -> list[Job]:
    """Sort jobs so that each task runs on its own, in the order in which the tasks begin."""
    of_tasks: dict[str, list[Job]] = {}
    for job in jobs:
        of_tasks.setdefault(job.task, []).append(job)
    return [job for mine in of_tasks.values() for job in mine]
