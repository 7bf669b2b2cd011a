"""What the host asks a model, task by task: its requests, and which of them are answered."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Sequence

    from lm_eval.api.instance import Instance
    from lm_eval.api.model import CacheHook

SCORING = ("loglikelihood", "loglikelihood_rolling")
GENERATING = "generate_until"
KINDS = (*SCORING, GENERATING)


def positions_by_task(requests: Sequence[Instance], n_ranks: int = 1) -> dict[str, list[int]]:
    """Map each task to the positions of its requests, without those that only pad this process.

    Where several processes share the questions, the host repeats the last request of one that has
    fewer: the same object, more often than it is to be answered.
    """
    n_seen: Counter[int] = Counter()
    positions: dict[str, list[int]] = {}
    for position, request in enumerate(requests):
        n_seen[id(request)] += 1
        if n_ranks == 1 or n_seen[id(request)] <= (request.repeats or 1):
            positions.setdefault(str(request.task_name), []).append(position)
    return positions


def first_of_questions(requests: Iterable[Instance], n: int) -> list[Instance]:
    """Return the first request of each of the first ``n`` questions."""
    of_questions: dict[object, Instance] = {}
    for request in requests:
        of_questions.setdefault(request.doc_id, request)
        if len(of_questions) == n:
            break
    return list(of_questions.values())


@dataclass(frozen=True)
class Answered:
    """What the host has answered in a batch."""

    n_requests: int
    """Requests."""
    n_questions: int
    """Questions whose last request is among these."""
    n_prompt_tokens: int
    """Tokens of the distinct prompts that were read for scores; 0 where answers are generated."""


class AskedRequests:
    """Counts requests and questions of one task as the host reports their answers.

    A question counts with the last of its requests. One of ``earlier``, the questions that other
    kinds of requests asked before, does not count again.
    """

    def __init__(self, requests: Sequence[Instance], earlier: Collection[Hashable] = ()) -> None:
        self._n_left = Counter(request.doc_id for request in requests)
        self._earlier = frozenset(earlier)
        self._open: defaultdict[Hashable, list[Hashable]] = defaultdict(list)
        for request in reversed(requests):
            self._open[_key(request.args)].append(request.doc_id)
        self._prompts: dict[Hashable, int] = {}
        self._prompt_lengths: dict[int, int] = {}
        self._n_requests = self._n_questions = self._n_prompt_tokens = 0

    def reads(self, texts: Sequence[Any] | None, prompt: Sequence[int]) -> None:
        """Note which tokens the model reads for a request: without padding, and each prompt once.

        ``texts`` are the arguments of the request, ``None`` for a part of a long text.
        """
        digest = hash(tuple(prompt))
        if texts is None:
            self._n_prompt_tokens += len(prompt)
            return
        self._prompts[_key(texts)] = digest
        self._prompt_lengths[digest] = len(prompt)

    def answered(self, arguments: Sequence[Any]) -> None:
        """Note that the request with these arguments is answered."""
        key = _key(arguments)
        if self._open.get(key):
            self._complete(key)

    def take(self) -> Answered:
        """Return what was answered since this was called before."""
        found = Answered(self._n_requests, self._n_questions, self._n_prompt_tokens)
        self._n_requests = self._n_questions = self._n_prompt_tokens = 0
        return found

    def take_rest(self) -> Answered:
        """Return what ``take`` returns, with all requests whose answers were not reported."""
        for key, same in self._open.items():
            while same:
                self._complete(key)
        return self.take()

    def _complete(self, key: Hashable) -> None:
        question = self._open[key].pop()
        self._n_left[question] -= 1
        self._n_requests += 1
        self._n_questions += self._n_left[question] == 0 and question not in self._earlier
        self._n_prompt_tokens += self._prompt_lengths.pop(self._prompts.get(key, 0), 0)


class AnswerListener:
    """Stands in for the host's cache hook, which gets every answer as soon as it is known.

    ``cache`` is the hook that is there; ``None`` keeps answers out of the host's cache.
    """

    def __init__(self, asked: AskedRequests, cache: CacheHook | None) -> None:
        self._asked = asked
        self._cache = cache

    def add_partial(self, attr: str, req: Sequence[Any], res: Any) -> None:  # noqa: ANN401
        """Note an answer, and pass it on to the cache."""
        self._asked.answered(req)
        if self._cache is not None:
            self._cache.add_partial(attr, req, res)


def _key(arguments: Sequence[Any]) -> Hashable:
    """Return the text of a request: a prompt, and the continuation to be scored, if there is one.

    Requests with the same text are the same as far as counts go.
    """
    continuation = arguments[1] if len(arguments) > 1 else None
    return arguments[0], continuation if isinstance(continuation, str) else None
