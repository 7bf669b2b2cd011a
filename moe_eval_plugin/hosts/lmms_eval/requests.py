"""Requests of lmms-eval, read as jobs for an engine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lmms_eval.protocol import ChatMessages

from moe_eval_plugin.engines.generation import KNOWN, GenerationSettings, read_settings
from moe_eval_plugin.engines.request import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lmms_eval.api.instance import Instance
    from lmms_eval.api.model import lmms

    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.hosts.run_options import RunOptions

logger = logging.getLogger(__name__)


class Answered(Protocol):
    """An engine's answer, as far as the next round needs it."""

    @property
    def text(self) -> str:
        """The text that the model wrote."""


AnswerT = TypeVar("AnswerT", bound=Answered)


class RequestReader:
    """Reads the requests that lmms-eval hands to a model; images are read when a job is built.

    ``model`` is the host's model: it gives the documents of each task.
    """

    def __init__(self, model: lmms, options: RunOptions) -> None:
        self._model = model
        self._options = options
        self._ignored: set[str] = set()

    def jobs(self, requests: Sequence[Instance]) -> list[Job]:
        """Read requests for answers, without those that only pad this rank."""
        real = ((i, request) for i, request in enumerate(requests) if not _is_padding(request))
        return [self._job(index, request) for index, request in real]

    def _job(self, index: int, request: Instance) -> Job:
        context, doc_to_messages, gen_kwargs, *place = request.args

        def build() -> Conversation:
            return self.conversation(doc_to_messages(self.document(request)))

        context = context if isinstance(context, str) else ""
        return Job(index, place[1], context, build, self.settings(gen_kwargs))

    def scoring_job(self, index: int, request: Instance) -> Job:
        """Read a request for the likelihood of a continuation."""
        context, _, doc_to_visual, *place = request.args

        def build() -> Conversation:
            visuals = doc_to_visual(self.document(request)) if doc_to_visual else []
            parts = [{"type": "image", "url": visual} for visual in visuals or []]
            content = [*parts, {"type": "text", "text": context}]
            return self.conversation([{"role": "user", "content": content}])

        return Job(index, place[1], context, build, self.settings({}))

    def continuation(self, request: Instance) -> str:
        """Give what a request for a likelihood wants to be scored."""
        continuation = request.args[1]
        return str(continuation(self.document(request)) if callable(continuation) else continuation)

    def document(self, request: Instance) -> Any:  # noqa: ANN401  (the task's own)
        """Look up the row of the data that a request is about."""
        doc_id, task, split = request.args[3:6]
        return self._model.task_dict[task][split][doc_id]

    def conversation(self, messages: list[dict[str, Any]]) -> Conversation:
        """Turn messages of the host into those of transformers, the system prompt before them."""
        if self._options.system_prompt:
            messages = self._model._apply_system_prompt(messages, self._options.system_prompt)  # noqa: SLF001  (the host's own way to do it)
        conversation: Conversation = ChatMessages(messages=messages).to_hf_messages()
        return conversation

    def all_rounds(
        self, request: Instance, answer: Callable[[Conversation], Sequence[AnswerT]]
    ) -> list[AnswerT]:
        """Follow the host's protocol: each round's messages depend on the answers before it.

        ``answer`` asks the engine; it gives the one answer to a conversation.
        """
        doc_to_messages, document = request.args[1], self.document(request)
        answers: list[AnswerT] = []
        messages, info = doc_to_messages(document), None
        while True:
            answers += answer(self.conversation(messages))
            following = doc_to_messages(
                document,
                round_idx=len(answers),
                previous_output=[one.text for one in answers],
                previous_round_info=info,
            )
            if not isinstance(following, tuple) or following[1]:
                return answers
            messages, _, _, info = following

    def settings(self, gen_kwargs: Mapping[str, Any]) -> GenerationSettings:
        """Read a task's generation arguments; those of no use here are named once."""
        unknown = set(gen_kwargs) - KNOWN
        if unknown - self._ignored:
            self._ignored |= unknown
            logger.warning("Generation arguments not used here: %s", ", ".join(sorted(unknown)))
        return read_settings(gen_kwargs, self._options.max_new_tokens)


def _is_padding(request: Instance) -> bool:
    """Tell whether the host made this request up, so that all ranks have equally many."""
    return bool(request.metadata.get("__padding_only__"))
