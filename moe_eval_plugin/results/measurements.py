"""Join the measurements of all processes to one record per task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.measure.answer_ends import joined_ends
from moe_eval_plugin.measure.hardware_use import RAPL, HardwareUse
from moe_eval_plugin.measure.speed import summarise
from moe_eval_plugin.results.record import RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.measure.answer_ends import AnswerEnds
    from moe_eval_plugin.measure.hardware_use import PeakMemory
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.results.steady_decode import SteadyDecode

ONE_SOCKET = (
    "each of {} processes counted the energy of the whole processor, so it cannot be added up"
)


@dataclass(frozen=True)
class Unanswered:
    """A question that could not be put to the model, and counts as answered with nothing."""

    task: str
    """Name of its task."""
    document: Any
    """Position among the documents of the task."""
    question_id: Any
    """The id that the data give it; ``None`` where they have none."""
    reason: str
    """Why it could not be asked."""

    def to_dict(self) -> dict[str, Any]:
        """Return what is stored of it, as plain JSON data."""
        is_plain = isinstance(self.question_id, int | str | None)
        question_id = self.question_id if is_plain else str(self.question_id)
        return {"document": self.document, "question_id": question_id, "reason": self.reason}


@dataclass(frozen=True)
class Measurements:
    """What one process measured, by task; it can be sent to another process.

    ``energy`` describes the counter of energy as plain data; ``answers`` counts how they ended.
    """

    batches: tuple[BatchTiming, ...] = ()
    hardware: Mapping[str, HardwareUse] = field(default_factory=dict)
    energy: Mapping[str, Any] | None = None
    unanswered: tuple[Unanswered, ...] = ()
    answers: Mapping[str, AnswerEnds] = field(default_factory=dict)

    def of_task(self, task: str) -> Measurements:
        """Return what was measured of one task."""
        return Measurements(
            tuple(batch for batch in self.batches if batch.task == task),
            {name: use for name, use in self.hardware.items() if name == task},
            self.energy,
            tuple(one for one in self.unanswered if one.task == task),
            {name: ends for name, ends in self.answers.items() if name == task},
        )


def joined(parts: Sequence[Measurements]) -> Measurements:
    """Join what one process measured in several parts of a run, one after the other."""
    uses: dict[str, HardwareUse] = {}
    for task, use in (item for part in parts for item in part.hardware.items()):
        uses[task] = uses[task].followed_by(use) if task in uses else use
    tasks = {task for part in parts for task in part.answers}
    ends = {task: joined_ends([part.answers for part in parts], task) for task in tasks}
    return Measurements(
        tuple(batch for part in parts for batch in part.batches),
        uses,
        parts[-1].energy,
        tuple(one for part in parts for one in part.unanswered),
        {task: one for task, one in ends.items() if one is not None},
    )


def make_records(
    ranks: Sequence[Measurements],
    experts: Mapping[str, VerifiedOverride],
    provenance: Mapping[str, Any],
    steady_decode: SteadyDecode | None = None,
) -> dict[str, RunRecord]:
    """Build one record per task from what all processes measured."""
    energy, _ = energy_of(ranks)
    return {
        task: RunRecord(
            task,
            experts[task],
            speed,
            {**provenance, "energy": energy, **unanswered_of(task, ranks)},
            use_of(task, ranks),
            answers=joined_ends([rank.answers for rank in ranks], task),
            steady_decode=steady_decode,
        )
        for task, speed in summarise([rank.batches for rank in ranks]).items()
        if task in experts
    }


def unanswered_of(task: str, ranks: Sequence[Measurements]) -> dict[str, Any]:
    """Describe the questions of a task that no process could ask."""
    mine = [one.to_dict() for rank in ranks for one in rank.unanswered if one.task == task]
    return {"n_unanswered": len(mine), "unanswered": mine}


def use_of(task: str, ranks: Sequence[Measurements]) -> HardwareUse:
    """Return the largest memory of any process, and the sum of joules if each is known."""
    _, adds_up = energy_of(ranks)
    uses = [rank.hardware[task] for rank in ranks if task in rank.hardware]
    largest: PeakMemory | None = None
    for use in uses:
        if use.peak_memory is not None:
            largest = use.peak_memory.largest(largest)
    joules = [use.joules for use in uses if use.joules is not None]
    is_known = adds_up and bool(joules) and len(joules) == len(uses)
    return HardwareUse(largest, sum(joules) if is_known else None)


def energy_of(ranks: Sequence[Measurements]) -> tuple[dict[str, Any] | None, bool]:
    """Describe the energy counters; the second value is whether their joules add up."""
    energy = ranks[0].energy
    if energy is None or len(ranks) == 1 or energy["source"] != RAPL:
        return dict(energy) if energy is not None else None, True
    reason = ONE_SOCKET.format(len(ranks))
    return {**energy, "reasons": [*energy["reasons"], reason]}, False
