"""Key lmms-eval's cache (``--use_cache``) by what an answer depends on, and count its answers.

The host's keys hold the text of ``--model_args`` and of the question. They hold neither the content
of a schedule's file nor that of a checkpoint's folder or of an image, nor what the environment
names. The host hashes the texts with which the arguments of a request begin: so a digest of all
that comes first, and everything else is the host's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from moe_eval_plugin.engines.answer_digest import question_digest
from moe_eval_plugin.files import short_digest
from moe_eval_plugin.hosts.foreign_models import gather
from moe_eval_plugin.hosts.lmms_eval.answers.host_answers import PartialAnswers

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from lmms_eval.api.instance import Instance
    from lmms_eval.api.model import lmms
    from lmms_eval.caching.response_cache import ResponseCache

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.results.record import RunRecord

SCORED = "loglikelihood"


def cache_keys(settings: Mapping[str, Any], jobs: Iterable[Job]) -> dict[int, str]:
    """Return a digest of all that each answer depends on, by the index of its job.

    ``settings`` are those of the model. A sampled answer has none, nor has a question whose content
    cannot be read.
    """
    of_model = short_digest(settings)
    greedy = (job for job in jobs if not job.settings.arguments.get("do_sample"))
    digests = ((job.index, question_digest(job)) for job in greedy)
    return {index: f"{of_model} {digest}" for index, digest in digests if digest is not None}


class OurModel(Protocol):
    """A model of the host that knows what its answers depend on."""

    world_size: int

    def answer_settings(self) -> dict[str, Any]:
        """Return what all answers depend on."""

    def jobs(self, kind: str, requests: list[Instance]) -> list[Job]:
        """Read the requests of a kind that a cache may answer."""

    def unasked_record(self, task: str) -> RunRecord:
        """Return the record of a task whose answers all came from a cache."""


def is_ours(lm: lmms) -> TypeGuard[OurModel]:
    """Whether a model is one of this package."""
    return hasattr(lm, "answer_settings")


class AnswerCache:
    """The host's ``ResponseCache`` during one run, for which it stands in.

    Requests of a model of ours are looked up under our keys; those without one are always asked.
    Those of any other model are looked up as the host does it. A question whose requests the cache
    has only in part is asked again as a whole, so that its time is that of a question.
    """

    def __init__(self, cache: ResponseCache, lm: lmms) -> None:
        self._cache = cache
        self._settings = lm.answer_settings() if is_ours(lm) else {}
        self._questions: dict[str, set[Hashable]] = {}
        self._unasked: dict[str, RunRecord] = {}

    def execute(self, lm: lmms, kind: str, requests: list[Instance]) -> list[Any]:
        """Return the answers in the order of the requests, from the cache where it has them."""
        keys = self._keys(lm, kind, requests)
        keyed = [
            replace(requests[position], arguments=(*key, *requests[position].args))
            for position, key in keys.items()
        ]
        run = _CachedRun(lm, kind, requests, dict(zip(keys, map(id, keyed), strict=True)))
        found = self._cache.execute(SimpleNamespace(**{kind: run.ask}), kind, keyed)
        answers = run.complete(dict(zip(keys, found, strict=True)))
        for position in keys.keys() - run.asked:
            self._count(lm, requests[position])
        return answers

    def complete(
        self, records: Mapping[str, RunRecord], n_ranks: int
    ) -> tuple[dict[str, RunRecord], dict[str, set[Hashable]]]:
        """Return the records with what came from the cache, and the questions of each task.

        All processes must call it. A task that was not asked at all has a record without a speed.
        """
        ranks = gather(self._questions) if n_ranks > 1 else [self._questions]
        tasks = dict.fromkeys(task for rank in ranks for task in rank)
        found = {task: set().union(*(rank.get(task, ()) for rank in ranks)) for task in tasks}
        known = {**self._unasked, **records}
        counted = {
            task: replace(record, n_answers_from_cache=len(found.get(task, ())))
            for task, record in known.items()
        }
        return counted, found

    def _keys(
        self,
        lm: lmms,
        kind: str,
        requests: list[Instance],
    ) -> dict[int, tuple[str, ...]]:
        """Return the texts to put before the arguments of each request that may be cached."""
        if not is_ours(lm):
            return dict.fromkeys(range(len(requests)), ())
        keys = cache_keys(self._settings, lm.jobs(kind, requests))
        return {position: (key,) for position, key in keys.items()}

    def _count(self, lm: lmms, request: Instance) -> None:
        task = request.task_name
        self._questions.setdefault(task, set()).add(request.doc_id)
        if is_ours(lm) and task not in self._unasked:
            # Now: the host lets the model go before it asks for records.
            self._unasked[task] = lm.unasked_record(task)


class _CachedRun:
    """One call of the host: what the cache does not have is asked, each question as a whole.

    ``keyed`` maps the position of each request that may be cached to the identity of the object
    that the cache gets in its place.
    """

    def __init__(
        self, lm: lmms, kind: str, requests: Sequence[Instance], keyed: Mapping[int, int]
    ) -> None:
        self._lm = lm
        self._kind = kind
        self._requests = requests
        self._positions = {identity: position for position, identity in keyed.items()}
        self._uncached = [n for n in range(len(requests)) if n not in keyed]
        self._order: list[int] = []
        self._answers: Sequence[Any] = ()

    @property
    def asked(self) -> set[int]:
        """Positions of the requests that the model answered."""
        return set(self._order)

    def ask(self, missing: Sequence[Instance]) -> Sequence[Any]:
        """Answer what the cache does not have; the host stores the answers one by one."""
        own = [self._positions[id(one)] for one in missing]
        open_questions = {self._question(position) for position in own}
        others = [n for n in self._positions.values() if n not in set(own)]
        again = [n for n in others if self._question(n) in open_questions]
        answers = self._run([*own, *again, *self._uncached])
        if isinstance(answers, PartialAnswers):
            return answers
        # What could not be scored is not stored, and so asked again.
        return [None if self._is_refused(one) else one for one in answers[: len(own)]]

    def complete(self, found: Mapping[int, Any]) -> list[Any]:
        """Return all answers in order; those that were given now come before those of the cache."""
        if not self._order and (self._uncached or self._must_take_part()):
            self._run(self._uncached)
        # An engine that failed raises its error here, after its last answer.
        fresh = dict(zip(self._order, list(self._answers), strict=True))
        known = {**found, **fresh}
        return [known[position] for position in range(len(self._requests))]

    def _run(self, positions: list[int]) -> Sequence[Any]:
        self._order = positions
        self._answers = getattr(self._lm, self._kind)([self._requests[n] for n in positions])
        return self._answers

    def _must_take_part(self) -> bool:
        """Whether other processes may wait for this one: a model of ours gathers from all."""
        return is_ours(self._lm) and self._lm.world_size > 1

    def _question(self, position: int) -> tuple[str, Hashable]:
        return self._requests[position].task_name, self._requests[position].doc_id

    def _is_refused(self, answer: Any) -> bool:  # noqa: ANN401  (a text or a score)
        return self._kind == SCORED and bool(answer[0] == -math.inf)
