"""Compare a finished sweep or run with its repetition, point by point and number by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.reproduce.agreement import DIFFERS, Agreement, Row
from moe_eval_plugin.publish.reproduce.count_rows import count_rows, expert_rows
from moe_eval_plugin.publish.reproduce.score_rows import compare_scores
from moe_eval_plugin.publish.reproduce.speed_rows import Speeds, machine_differences
from moe_eval_plugin.results.timing.speed_checks import load_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.publish.bundle.finished import Finished, FinishedPoint
    from moe_eval_plugin.results.run import TaskRun


def compare_with_original(
    original: Finished,
    again: Finished,
    *,
    limited: bool = False,
    speed_within: float | None = None,
) -> Agreement:
    """Return a verdict for each number of the points.

    ``limited`` means that only a part of the questions was asked again: those are compared, and
    counts that are known only over all questions are not judged. ``speed_within`` is the share by
    which a speed may differ; without it, a speed that has no interval is not judged. Raises
    ``DataError`` if one is a sweep and the other a single run.
    """
    if (original.manifest is None) != (again.manifest is None):
        kinds = ["a single run" if one.manifest is None else "a sweep" for one in (original, again)]
        message = (
            f"The bundle holds {kinds[0]}, and {again.folder} is {kinds[1]}. Compare a sweep with "
            "a sweep, or a run with a run."
        )
        raise DataError(message)
    comparison = _Comparison(again, limited=limited)
    rows = [row for point in original.points for row in comparison.rows(point)]
    speeds = Speeds(comparison.pairs, (original.timed, again.timed), speed_within)
    machine = [
        f"another machine: {one}; only speed-ups are judged"
        for one in [", ".join(machine_differences(comparison.pairs))]
        if one
    ]
    notes = [
        *comparison.notes,
        *machine,
        *_load_notes("then", original),
        *_load_notes("now", again),
    ]
    return Agreement(
        (*rows, *speeds.rows()),
        tuple(dict.fromkeys(comparison.settings)),
        tuple(dict.fromkeys(notes)),
    )


def _load_notes(when: str, finished: Finished) -> list[str]:
    """Return what made the speeds of a sweep unreliable."""
    loads = [block.load for one in finished.timed for block in one.counted]
    return [f"{when}: {sentence}" for sentence in load_warnings(loads)]


class _Comparison:
    """Compares point by point; collects notes and changed settings."""

    def __init__(self, again: Finished, *, limited: bool) -> None:
        self._again = {point.key: point for point in again.points}
        self._limited = limited
        self.pairs: list[tuple[FinishedPoint, FinishedPoint]] = []
        self.settings: list[str] = []
        self.notes: list[str] = []

    def rows(self, point: FinishedPoint) -> Iterator[Row]:
        """Yield the rows of a point, task by task, without speeds: those need all points."""
        again = self._again.get(point.key)
        if again is None:
            reason = "the point was not run again; see the output of its command, or its log"
            yield Row(point.name, "", "point", None, None, DIFFERS, reason, kind="accuracy")
            return
        self.pairs.append((point, again))
        tasks = {task.task: task for task in again.run.tasks}
        for task in point.run.tasks:
            if task.task in tasks:
                yield from self._task_rows(point, again, task, tasks[task.task])
            else:
                reason = "the task was not run again"
                names = point.name, task.task, "task"
                yield Row(*names, None, None, DIFFERS, reason, kind="accuracy")

    def _task_rows(
        self, point: FinishedPoint, again: FinishedPoint, one: TaskRun, two: TaskRun
    ) -> Iterator[Row]:
        scores = compare_scores(
            point.name, (point.run, one), (again.run, two), limited=self._limited
        )
        self.settings += scores.settings
        self.notes += scores.notes
        yield from scores.rows
        yield from expert_rows(point.name, one, two, limited=self._limited)
        yield from count_rows(point.name, one, two, scores.pairs, limited=self._limited)
