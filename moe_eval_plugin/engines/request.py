"""Requests as every engine takes them, and what an engine reports while it answers them."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from moe_eval_plugin.engines.generation import GenerationSettings
    from moe_eval_plugin.measure.answer_ends import EndedBy
    from moe_eval_plugin.measure.timing import BatchTiming

Conversation = list[dict[str, Any]]

# A verification asks the first questions of a task, and sees prefill and one decode step.
PROMPTS_TO_VERIFY = 4
VERIFICATION_NEW_TOKENS = 2


@dataclass(frozen=True, eq=False)
class Job:
    """One request of a host."""

    index: int
    """Position among the requests of one call of the host."""
    task: str
    """Name of its task."""
    question: Hashable
    """Equal for all requests of one question; a multiple-choice question has several."""
    context: str
    """Text of the prompt, as far as the host has it; only its length is used."""
    build: Callable[[], Conversation]
    """Reads the images and returns the conversation."""
    settings: GenerationSettings
    """How an answer is generated."""
    continuation: Callable[[], str] | None = None
    """Returns the text to be scored after the conversation, where none is generated."""
    seed: int = 0
    """Seed of a sampled answer: that of the run, the task, the question, and the answer's number
    among several to this question. It depends on no other request."""
    read_id: Callable[[], object] = lambda: None
    """Reads the id that the data give the question; ``None`` where they have none."""
    read_image_key: Callable[[], Hashable | None] = lambda: None
    """Reads what is equal for questions about the same images, as far as the data say; ``None``
    where they do not. Whether the images are the same is checked."""

    def describe(self) -> str:
        """Return the question's name for people."""
        question_id = self.read_id()
        if question_id is None:
            return f"Document {self.question} of {self.task}, counted from 0,"
        return f"Question {question_id} of {self.task}"


class JobSeeds:
    """Derives the seed of each request from that of the run.

    No seed depends on what else is asked: other tasks, batches that were answered before, or the
    processes among which the questions are shared. A question that is asked several times gets
    another seed each time, in the order of the requests.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._n_asked: Counter[tuple[str, Hashable]] = Counter()

    def next(self, task: str, question: Hashable) -> int:
        """Return the seed of the next request for this question."""
        self._n_asked[task, question] += 1
        return joined_seed((self._seed, task, question, self._n_asked[task, question]))


def joined_seed(parts: Iterable[Hashable]) -> int:
    """Return a seed (0 to 2**32 - 1) that depends on all parts and their order."""
    return int.from_bytes(hashlib.sha256(repr([*parts]).encode()).digest()[:4], "big")


class GeneratedAnswer(Protocol):
    """An answer that an engine generated."""

    @property
    def text(self) -> str:
        """The text up to the first stop string."""

    @property
    def n_input_tokens(self) -> int:
        """Tokens of the prompt, image tokens included."""

    @property
    def n_output_tokens(self) -> int:
        """Generated tokens, the one that ended the answer included."""

    @property
    def ended_by(self) -> EndedBy | None:
        """What ended the answer; ``None`` is not known."""

    @property
    def is_finite(self) -> bool:
        """Whether no token was chosen from NaN or infinity; if one was, the text is empty."""


@dataclass(frozen=True)
class Generated:
    """One answer."""

    text: str
    """Its text up to the first stop string; empty where it is not finite."""
    n_input_tokens: int
    """Tokens of the prompt, image tokens included."""
    n_output_tokens: int
    """Generated tokens, up to and with the one that ended the answer."""
    ended_by: EndedBy | None = None
    """What ended it."""
    is_finite: bool = True
    """Whether no token was chosen from NaN or infinity."""


class JobListener(Protocol):
    """Receives what happens to jobs while they run."""

    def batch_end(self, timing: BatchTiming, n_requests: int) -> bool:
        """Record a batch; return whether this took time that must not be measured."""

    def refuse(self, job: Job, reason: str) -> None:
        """Record a question that cannot be put to the model.

        Raises ``UnansweredQuestionError`` unless such questions count as unanswered.
        """

    def not_finite(self, job: Job) -> None:
        """Record a question whose answer was computed from NaN or infinity."""

    def request_failed(self, task: str) -> None:
        """Record a request that could not be answered."""


class QuestionCounter:
    """Counts questions, each with the last of its requests that is answered."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._n_left = Counter((job.task, job.question) for job in jobs)

    def complete(self, jobs: Iterable[Job]) -> int:
        """Return the number of questions whose last open request is among these answered jobs."""
        n_complete = 0
        for job in jobs:
            question = job.task, job.question
            self._n_left[question] -= 1
            n_complete += self._n_left[question] == 0
        return n_complete
