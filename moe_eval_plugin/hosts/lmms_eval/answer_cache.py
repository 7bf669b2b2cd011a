"""Let lmms-eval's cache of answers (``--use_cache``) know what an answer depends on, and count it.

The host's keys hold the text of ``--model_args`` and of the question. They hold neither the content
of a schedule's file nor that of a checkpoint's folder or of an image, nor what the environment
names. The host hashes the texts with which the arguments of a request begin: so a digest of all
that comes first, and everything else is the host's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.foreign_models import PADDING, gather
from moe_eval_plugin.hosts.lmms_eval.partial_answers import PartialAnswers
from moe_eval_plugin.measure.speed import TaskSpeed

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from lmms_eval.api.instance import Instance
    from lmms_eval.caching.response_cache import ResponseCache

    from moe_eval_plugin.results.record import RunRecord

FROM_CACHE = "from_cache"
SCORED = "loglikelihood"


class AnswerCache:
    """The host's ``ResponseCache`` for one run: it may stand where the host uses that.

    Requests of a model of ours are looked up under our keys; some have none and are always asked.
    Those of any other model are looked up as the host does it. A question whose requests the cache
    has only in part is asked again as a whole, so that its time is that of a question.
    """

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self._questions: dict[str, set[Hashable]] = {}

    def execute(self, lm: Any, kind: str, requests: list[Instance]) -> list[Any]:  # noqa: ANN401
        """Return the answers in the order of the requests, from the cache where it has them."""
        keys = lm.cache_keys(kind, requests) if hasattr(lm, "cache_keys") else _host_keys(requests)
        run = _CachedRun(lm, kind, requests, list(keys))
        keyed = [
            replace(requests[position], arguments=(*key, *requests[position].args))
            for position, key in keys.items()
        ]
        run.positions = {id(one): position for one, position in zip(keyed, keys, strict=True)}
        found = self._cache.execute(SimpleNamespace(**{kind: run.ask}), kind, keyed)
        answers = run.complete(dict(zip(keys, found, strict=True)))
        for position in keys:
            if position not in run.asked:
                one = requests[position]
                self._questions.setdefault(one.task_name, set()).add(one.doc_id)
        return answers

    def questions(self, n_ranks: int) -> dict[str, set[Hashable]]:
        """Return the questions of each task that came from the cache, of all processes."""
        ranks = gather(self._questions) if n_ranks > 1 else [self._questions]
        tasks = dict.fromkeys(task for rank in ranks for task in rank)
        return {task: set().union(*(rank.get(task, ()) for rank in ranks)) for task in tasks}


class _CachedRun:
    """One call of the host: what the cache does not have is asked, each question as a whole."""

    def __init__(
        self, lm: Any, kind: str, requests: Sequence[Instance], cacheable: Sequence[int]
    ) -> None:
        self._lm = lm
        self._kind = kind
        self._requests = requests
        self._cacheable = cacheable
        self._uncached = [n for n in range(len(requests)) if n not in set(cacheable)]
        self._fresh: dict[int, Any] = {}
        self.positions: dict[int, int] = {}
        self.asked: set[int] = set()

    def ask(self, missing: Sequence[Instance]) -> Sequence[Any]:
        """Answer what the cache does not have; the host stores the answers one by one."""
        own = [self.positions[id(one)] for one in missing]
        open_questions = {self._question(position) for position in own}
        again = [
            position
            for position in self._cacheable
            if self._question(position) in open_questions and position not in set(own)
        ]
        answers = self._run([*own, *again, *self._uncached])
        if isinstance(answers, PartialAnswers):
            return answers
        # What could not be scored is not stored: it is asked again.
        return [None if self._is_refused(one) else one for one in answers[: len(own)]]

    def complete(self, found: Mapping[int, Any]) -> list[Any]:
        """Return all answers in order; those that were given now come before those of the cache."""
        if not self.asked and (self._uncached or getattr(self._lm, "world_size", 1) > 1):
            # Processes without an open question take part too: a model gathers from all of them.
            self._run(self._uncached)
        known = {**found, **self._fresh}
        return [known[position] for position in range(len(self._requests))]

    def _run(self, positions: Sequence[int]) -> Sequence[Any]:
        self.asked = set(positions)
        answers = getattr(self._lm, self._kind)([self._requests[n] for n in positions])
        if not isinstance(answers, PartialAnswers) or len(answers) >= len(positions):
            self._fresh = dict(zip(positions, answers, strict=False))
        return answers

    def _question(self, position: int) -> tuple[str, Hashable]:
        return self._requests[position].task_name, self._requests[position].doc_id

    def _is_refused(self, answer: Any) -> bool:
        return self._kind == SCORED and bool(answer[0] == -math.inf)
