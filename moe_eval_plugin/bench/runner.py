"""Runs a plan on an engine: observe every point, warm up, then time all k in turn, round by round.

An engine is a loaded model that can be set to a k, observed, and timed; nothing here knows how.
Rounds go over all k before they begin again, so that whatever else the machine does hits all of
them alike. An engine that must be started anew for each k is done with one before the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moe_eval_plugin.bench.plan import BenchSetting
from moe_eval_plugin.errors import InsufficientMemoryError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from moe_eval_plugin.bench.plan import BenchPlan, Observed, Repetition, Workload

Progress = Callable[[str], None]
T = TypeVar("T")


class BenchEngine(Protocol):
    """A loaded model, whatever runs it.

    ``changes_k_live`` tells whether k can be changed between two generations at little cost.
    """

    @property
    def changes_k_live(self) -> bool:
        """Tell whether rounds may go over all k."""

    def at_k(self, experts_k: int | None) -> AbstractContextManager[object]:
        """Set k while the block runs, and restore the model afterwards; ``None`` changes nothing.

        Raises the errors of ``spec`` and ``override``.
        """

    def observe(self, workload: Workload) -> Observed:
        """Count the experts that tokens use at the k that is set, in a pass that is not timed.

        Raises ``OverrideNotEffectiveError`` if it is another k, and ``InsufficientMemoryError``.
        """

    def run(self, workload: Workload) -> Repetition:
        """Generate exactly so many tokens for each sequence, and time it.

        Nothing but the clock may watch the model meanwhile. Raises ``InsufficientMemoryError``
        where the batch does not fit; the engine can be used for smaller ones afterwards.
        """

    def energy(self) -> Mapping[str, Any]:
        """Describe the instrument that measures joules as plain data, and why there is none."""


@dataclass(frozen=True)
class MeasuredPoint:
    """What was seen and timed at one point; the repetitions of equal rank belong to one round."""

    point: BenchSetting
    observed: Observed
    repetitions: tuple[Repetition, ...]


@dataclass(frozen=True)
class Measured:
    """All points that fitted into memory, and notes on series that ended before the plan did."""

    points: tuple[MeasuredPoint, ...]
    notes: tuple[str, ...]


def measure(
    engine: BenchEngine, plan: BenchPlan, progress: Progress = lambda _text: None
) -> Measured:
    """Verify every point, then time it. ``progress`` is told of each generation before it runs.

    Where memory ends, the larger batches of that k are left out, with a note. Raises what the
    engine raises otherwise; no k is timed before it was seen to be the one asked for.
    """
    run = _Run(engine, plan, progress)
    together = [plan.experts_k] if engine.changes_k_live else [(k,) for k in plan.experts_k]
    for ks in together:
        run.series(ks)
    return run.result()


class _Run:
    """What is known so far."""

    def __init__(self, engine: BenchEngine, plan: BenchPlan, progress: Progress) -> None:
        self._engine = engine
        self._plan = plan
        self._progress = progress
        self._observed: dict[BenchSetting, Observed] = {}
        self._timed: dict[BenchSetting, list[Repetition]] = {}
        # The batch size at which the series of a k ended.
        self._ended: dict[int | None, int] = {}
        self._notes: list[str] = []

    def series(self, ks: Sequence[int | None]) -> None:
        """Verify some k at every batch size, then time them in turn."""
        for k in ks:
            for batch_size in self._plan.batch_sizes:
                self._observe(BenchSetting(k, batch_size))
        for batch_size in self._plan.batch_sizes:
            for number in range(self._plan.repeats + 1):
                for k in ks:
                    self._time(BenchSetting(k, batch_size), number)

    def _observe(self, point: BenchSetting) -> None:
        """Verify the k of a point and count its experts."""
        observed = self._attempt(point, "observing", self._engine.observe)
        if observed is not None:
            self._observed[point] = observed

    def _time(self, point: BenchSetting, number: int) -> None:
        """Time a point once; number 0 is the warm-up, which is not counted."""
        what = f"round {number} of {self._plan.repeats}" if number else "warming up"
        repetition = self._attempt(point, what, self._engine.run)
        if repetition is not None and number > 0:
            self._timed.setdefault(point, []).append(repetition)

    def result(self) -> Measured:
        """Give the points whose repetitions are complete."""
        points = tuple(
            MeasuredPoint(point, self._observed[point], tuple(self._timed[point]))
            for point in self._plan.points()
            if not self._has_ended(point) and point in self._timed
        )
        return Measured(points, tuple(self._notes))

    def _attempt(self, point: BenchSetting, what: str, act: Callable[[Workload], T]) -> T | None:
        if self._has_ended(point):
            return None
        self._progress(f"{point}: {what}")
        try:
            with self._engine.at_k(point.experts_k):
                return act(self._plan.workload(point.batch_size))
        except InsufficientMemoryError as error:
            self._ended[point.experts_k] = point.batch_size
            self._notes.append(f"{point}: memory ends here ({error}), so this series is shorter.")
            return None

    def _has_ended(self, point: BenchSetting) -> bool:
        ended = self._ended.get(point.experts_k)
        return ended is not None and point.batch_size >= ended
