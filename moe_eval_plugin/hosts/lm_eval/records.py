"""The records of a model's tasks, from what was measured of each kind of their requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.lm_eval.asked import GENERATING
from moe_eval_plugin.results.measurements import joined, make_records

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from lm_eval.api.instance import Instance

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.results.measurements import Measurements
    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.results.steady_decode import SteadyDecode


@dataclass
class _Task:
    """What is known of one task in the present evaluation."""

    experts: VerifiedOverride
    """Requested and observed k; that of generated answers, where there are any."""
    questions: set[Hashable] = field(default_factory=set)
    """Questions that were asked, by requests of any kind."""
    generation: list[dict[str, Any]] = field(default_factory=list)
    """Distinct arguments of generation; mostly one."""
    measured: dict[str, Sequence[Measurements]] = field(default_factory=dict)
    """By kind of request: what each process measured."""


class TaskRecords:
    """Keeps what was verified and measured of each task, and makes one record of it.

    The host asks once for each kind of request, and a task may have several kinds. The same kind
    again is another evaluation, whose records replace those before.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}

    def begin(self, kind: str, experts: Mapping[str, VerifiedOverride]) -> None:
        """Begin the requests of one kind, whose k was verified for each task."""
        for task, verified in experts.items():
            known = self._tasks.get(task)
            if known is None or kind in known.measured:
                self._tasks[task] = _Task(verified)
            elif kind == GENERATING:
                known.experts = verified

    def earlier(self, task: str) -> frozenset[Hashable]:
        """Return the questions of a task that were asked already, by requests of other kinds."""
        return frozenset(self._tasks[task].questions)

    def asked(self, kind: str, task: str, requests: Iterable[Instance]) -> None:
        """Note the questions of a task, and its arguments of generation."""
        known = self._tasks[task]
        for request in requests:
            known.questions.add(request.doc_id)
            if kind == GENERATING and request.args[1] not in known.generation:
                known.generation.append(dict(request.args[1]))

    def add(
        self,
        kind: str,
        tasks: Iterable[str],
        ranks: Sequence[Measurements],
        provenance: Mapping[str, Any],
        steady_decode: SteadyDecode | None = None,
    ) -> dict[str, RunRecord]:
        """Return a record of each task from what all processes measured now, and before."""
        found: dict[str, RunRecord] = {}
        for task in tasks:
            known = self._tasks[task]
            known.measured[kind] = [one.of_task(task) for one in ranks]
            parts = [joined(of_rank) for of_rank in zip(*known.measured.values(), strict=True)]
            more = {**provenance, "generation": known.generation}
            found |= make_records(parts, {task: known.experts}, more, steady_decode)
        return found
