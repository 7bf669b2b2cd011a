"""Measure time and throughput of other models, by wrapping the methods that get requests."""

from __future__ import annotations

import functools
import logging
from collections import Counter, defaultdict
from contextlib import ExitStack
from itertools import compress
from typing import TYPE_CHECKING, Any, Self

from moe_eval_plugin.hosts.replacement import replaced
from moe_eval_plugin.measure.speed import TaskSpeed
from moe_eval_plugin.measure.timing import read_clock
from moe_eval_plugin.results.record import Metric, RunRecord
from moe_eval_plugin.results.samples import failure_note
from moe_eval_plugin.results.versions import installed_versions, versions_with

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.measure.timing import Clock

logger = logging.getLogger(__name__)

METHODS = (
    "generate_until",
    "generate_until_multi_round",
    "loglikelihood",
    "loglikelihood_rolling",
)
# Marks requests of lmms-eval that are no questions; the metadata of lm-eval's are no mapping.
PADDING = "__padding_only__"
# Row of the questions whose answer is a message about a failed request; only where there are any.
N_FAILED = "n_failed_requests"


class ForeignModelTimer:
    """Passes a model its requests task by task and measures the time, while it is entered.

    A host passes the requests of all tasks at once, and models run them in an order of their own;
    so each task becomes a call of its own. The answers are those of the model, in the order of the
    requests. A sample is a question: several requests of one count once. ``lm`` is any object; one
    that lacks all of ``METHODS``, or does not let them be replaced, is left alone and has no
    records. Neither have several tasks on several processes, which may have to make the same calls.
    ``failure_in`` returns the message that a host wrote in place of an answer, or ``None``; the
    version of this ``host`` is recorded.
    """

    def __init__(
        self,
        lm: Any,  # noqa: ANN401
        clock: Clock = read_clock,
        failure_in: Callable[[object], str | None] = lambda _: None,
        host: str = "lmms-eval",
    ) -> None:
        self._host = host
        self._lm = lm
        self._clock = clock
        self._failure_in = failure_in
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._n_samples: Counter[str] = Counter()
        self._n_failed: Counter[str] = Counter()
        self._restore = ExitStack()
        self._is_timing = False

    def __enter__(self) -> Self:
        for name in METHODS:
            method = getattr(self._lm, name, None)
            # The attributes of an object with slots cannot be replaced.
            if callable(method) and hasattr(self._lm, "__dict__"):
                self._restore.enter_context(replaced(self._lm, name, self._timed(method)))
        return self

    def __exit__(self, *_: object) -> None:
        self._restore.close()

    def records(self) -> dict[str, RunRecord]:
        """Return a record of each task over all processes; one that did nothing counts as 0.

        All processes must call it. What cannot be seen from outside is ``None``.
        """
        ranks = gather((dict(self._seconds), dict(self._n_samples), dict(self._n_failed)))
        tasks = dict.fromkeys(task for seconds, _, _ in ranks for task in seconds)
        n_failed = sum((Counter(failed) for _, _, failed in ranks), Counter())
        n_samples = sum((Counter(counts) for _, counts, _ in ranks), Counter())
        for task, n in n_failed.items():
            logger.warning("%s: %s", task, failure_note(n, n_samples[task]))
        provenance = {
            "model_class": type(self._lm).__name__,
            "timed": "from outside",
            "n_ranks": len(ranks),
            "versions": versions_with(self._host, installed_versions()),
        }
        return {
            task: RunRecord(
                task,
                experts=None,
                speed=TaskSpeed(
                    n_samples=n_samples[task],
                    n_input_tokens=None,
                    n_output_tokens=None,
                    wall_s=max(seconds.get(task, 0.0) for seconds, _, _ in ranks),
                ),
                provenance=provenance,
                extra=_failed_row(task, n_failed[task]),
            )
            for task in tasks
        }

    def _timed(self, method: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        @functools.wraps(method)
        def by_task(requests: list[Any], **how: Any) -> list[Any]:  # noqa: ANN401  (the host's)
            tasks = _positions(requests)
            if self._is_timing:  # some models answer one kind of request by way of another
                return method(requests, **how)
            if len(tasks) > 1 and _is_distributed():
                return method(requests, **how)
            answers: list[Any] = [None] * len(requests)
            for task, positions in tasks.items():
                own = [requests[position] for position in positions]
                found = self._time(task, functools.partial(method, **how), own)
                for position, answer in zip(positions, found, strict=True):
                    answers[position] = answer
            return answers

        return by_task

    def _time(
        self, task: str, method: Callable[[list[Any]], list[Any]], requests: list[Any]
    ) -> list[Any]:
        begin = self._clock()
        self._is_timing = True
        try:
            answers = method(requests)
        finally:
            self._is_timing = False
        self._seconds[task] += self._clock() - begin
        asked = [not _is_padding(one) for one in requests]
        questions = {one.doc_id for one in compress(requests, asked)}
        self._n_samples[task] += len(questions)
        texts = (
            (one.doc_id, getattr(answer, "text", answer))
            for one, answer in zip(requests, answers, strict=False)
        )
        failed = {doc_id for doc_id, text in compress(texts, asked) if self._failure_in(text)}
        self._n_failed[task] += len(failed)
        return answers


def _is_padding(request: Any) -> bool:  # noqa: ANN401  (a host's own class)
    metadata = request.metadata
    return isinstance(metadata, dict) and bool(metadata.get(PADDING))


def _failed_row(task: str, n_failed: int) -> tuple[Metric, ...]:
    return (Metric(task, N_FAILED, n_failed, higher_is_better=False),) if n_failed else ()


def _positions(requests: Sequence[Any]) -> dict[str, list[int]]:
    """Map each task to the positions of its requests."""
    positions: dict[str, list[int]] = {}
    for position, request in enumerate(requests):
        positions.setdefault(request.task_name, []).append(position)
    return positions


def gather(mine: Any) -> list[Any]:  # noqa: ANN401
    """Collect a value of all processes, by torch; all of them must call it."""
    import torch.distributed

    if not _is_distributed():
        return [mine]
    ranks: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(ranks, mine)
    return ranks


def _is_distributed() -> bool:
    import torch.distributed

    return torch.distributed.is_available() and torch.distributed.is_initialized()
