"""Launchers: where the points of a sweep run, and how their ends come back.

A launcher gets points and the work that makes one of them; it says when it begins with a point, and
yields an outcome for each, in whatever order they end. A point that fails does not stop the others.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.sweep.plan import SweepPoint

logger = logging.getLogger(__name__)

Job = TypeVar("Job")
Options: TypeAlias = "Mapping[str, str]"
LONGEST_REASON = 2000
N_TRIES = 2


@dataclass(frozen=True)
class Outcome:
    """How a point ended: with a results file, or with the reason why there is none."""

    point: SweepPoint
    results: Path | None
    reason: str | None
    seconds: float


class Work(Protocol):
    """Makes one point; returns its results file, or raises."""

    def __call__(self, point: SweepPoint) -> Path:
        """Make the point."""


class Launcher(Protocol):
    """Runs the work of each point somewhere."""

    def run(
        self, points: Sequence[SweepPoint], work: Work, begin: Callable[[SweepPoint], None]
    ) -> Iterator[Outcome]:
        """Run all points; ``begin`` is called for each before its work starts."""


class LocalLauncher:
    """Runs one point after the other, in this process."""

    def run(
        self, points: Sequence[SweepPoint], work: Work, begin: Callable[[SweepPoint], None]
    ) -> Iterator[Outcome]:
        """Run all points in their order."""
        for point in points:
            begin(point)
            yield attempt(point, work)


def attempt(point: SweepPoint, work: Work) -> Outcome:
    """Run the work of a point, and turn any error into a reason."""
    started = time.monotonic()
    try:
        results, reason = work(point), None
    except Exception as error:  # noqa: BLE001  (whatever it is, the other points go on)
        results, reason = None, reason_of(error)
    return Outcome(point, results, reason, time.monotonic() - started)


def reason_of(error: BaseException) -> str:
    """Say why a point failed."""
    return f"{type(error).__name__}: {error}"[:LONGEST_REASON]


def retry_once(
    points: Sequence[SweepPoint],
    submit: Callable[[SweepPoint], Job],
    next_done: Callable[[Sequence[Job]], Job],
    end_of: Callable[[Job], Outcome | str],
) -> Iterator[Outcome]:
    """Submit all points, and yield their ends; a point whose worker died is submitted once more.

    ``next_done`` waits for any of the jobs, and ``end_of`` gives the outcome of a job, or says what
    became of its worker.
    """
    started = time.monotonic()
    under_way = {submit(point): (point, 1) for point in points}
    while under_way:
        job = next_done(list(under_way))
        point, n_tries = under_way.pop(job)
        end = end_of(job)
        if isinstance(end, Outcome):
            yield end
        elif n_tries < N_TRIES:
            logger.warning("%s: %s. It is tried once more.", point.name, end)
            under_way[submit(point)] = (point, n_tries + 1)
        else:
            reason = f"{end}, {n_tries} times"[:LONGEST_REASON]
            yield Outcome(point, None, reason, time.monotonic() - started)
