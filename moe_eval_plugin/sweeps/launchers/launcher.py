"""Launchers run the points of a sweep locally, on Ray or on Slurm, and yield how each ended.

A launcher gets points and the worker that runs one of them. It reports when it begins a point, and
yields outcomes in the order in which points end. A point that fails
does not stop the others, unless they would fail with the same error.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moe_eval_plugin.errors import (
    InvalidExpertCountError,
    UnsupportedFamilyError,
    UserError,
)
from moe_eval_plugin.sweeps.workers.failures import LONGEST_REASON, PointRefusedError, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.sweeps.plan import SweepPoint

logger = logging.getLogger(__name__)

Job = TypeVar("Job")
N_TRIES = 2
ERRORS_OF_ONE_POINT = (InvalidExpertCountError, UnsupportedFamilyError)


@dataclass(frozen=True)
class Outcome:
    """How a point ended: with a results file, or with the reason why there is none."""

    point: SweepPoint
    results: Path | None
    reason: str | None
    seconds: float
    is_refused: bool = False
    """Whether the host refused the request, before anything was answered."""


class Worker(Protocol):
    """Runs one point; returns its results file, or raises."""

    def __call__(self, point: SweepPoint, /) -> Path:
        """Run the point."""


class Launcher(Protocol):
    """Runs the points of a sweep on some machine."""

    def run(
        self, points: Sequence[SweepPoint], worker: Worker, begin: Callable[[SweepPoint], None]
    ) -> Iterator[Outcome]:
        """Run all points; ``begin`` is called for each before it starts."""


class LocalLauncher:
    """Runs one point after the other, in this process."""

    def run(
        self, points: Sequence[SweepPoint], worker: Worker, begin: Callable[[SweepPoint], None]
    ) -> Iterator[Outcome]:
        """Run all points in their order.

        Raises ``UserError`` where the first one is refused: the others would be too.
        """
        for number, point in enumerate(points):
            begin(point)
            outcome = attempt(point, worker)
            if number == 0 and outcome.is_refused:
                raise UserError(outcome.reason)
            yield outcome


def with_numbers(options: Mapping[str, str]) -> dict[str, Any]:
    """Return options from a command line, with whole numbers as such."""
    return {name: int(value) if value.isdigit() else value for name, value in options.items()}


def attempt(point: SweepPoint, worker: Worker) -> Outcome:
    """Run a point, and turn any error into a reason.

    A ``UserError`` is raised, because every other point would end with it too, unless it is about
    the k of this point.
    """
    started = time.monotonic()
    results, reason, is_refused = None, None, False
    try:
        results = worker(point)
    except ERRORS_OF_ONE_POINT as error:
        reason = reason_of(error)
    except UserError:
        raise
    except PointRefusedError as error:
        reason, is_refused = str(error)[:LONGEST_REASON], True
    except Exception as error:  # noqa: BLE001  (whatever it is, the other points go on)
        reason = reason_of(error)
    return Outcome(point, results, reason, time.monotonic() - started, is_refused)


def retry_once(
    points: Sequence[SweepPoint],
    submit: Callable[[SweepPoint], Job],
    next_done: Callable[[Sequence[Job]], Job],
    end_of: Callable[[Job], Outcome | str],
) -> Iterator[Outcome]:
    """Submit all points and yield their outcomes; one whose worker died is submitted once more.

    ``next_done`` waits for any of the jobs. ``end_of`` returns the outcome of a job, or a text
    about how its worker died.
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
