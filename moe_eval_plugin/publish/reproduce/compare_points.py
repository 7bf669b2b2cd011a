"""Compares a finished sweep or run with its repetition, point by point and number by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.publish.reproduce.agreement import DIFFERS, Agreement, Row
from moe_eval_plugin.publish.reproduce.count_rows import count_rows, expert_rows
from moe_eval_plugin.publish.reproduce.score_rows import compare_scores
from moe_eval_plugin.publish.reproduce.speed_rows import Speeds

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
    """Compare each number of the points.

    With ``limited`` only a part of the questions was asked again: those are compared, and what is
    counted over all of them is not judged. ``speed_within`` is the share by which a speed that has
    no interval may differ; without it such a speed is not judged. Raises ``DataError`` for a sweep
    and a single run, which have nothing to compare.
    """
    if (original.manifest is None) != (again.manifest is None):
        kinds = ["a single run" if one.manifest is None else "a sweep" for one in (original, again)]
        message = (
            f"The bundle holds {kinds[0]}, and {again.folder} is {kinds[1]}. Compare like with "
            "like."
        )
        raise DataError(message)
    comparison = _Comparison(again, limited=limited)
    rows = [row for point in original.points for row in comparison.rows(point)]
    speeds = Speeds(comparison.pairs, speed_within)
    return Agreement(
        (*rows, *speeds.rows()),
        tuple(dict.fromkeys(comparison.settings)),
        tuple(dict.fromkeys(comparison.notes)),
    )


class _Comparison:
    """Goes through the points of the original, and keeps what there is to say beside numbers."""

    def __init__(self, again: Finished, *, limited: bool) -> None:
        self._again = {point.key: point for point in again.points}
        self._limited = limited
        self.pairs: list[tuple[FinishedPoint, FinishedPoint]] = []
        self.settings: list[str] = []
        self.notes: list[str] = []

    def rows(self, point: FinishedPoint) -> Iterator[Row]:
        """Yield the rows of a point, task by task; speeds come later, since they are related."""
        again = self._again.get(point.key)
        if again is None:
            reason = "the point was not made again; its command or its log tells why"
            yield Row(point.name, "", "point", None, None, DIFFERS, reason)
            return
        self.pairs.append((point, again))
        tasks = {task.task: task for task in again.run.tasks}
        for task in point.run.tasks:
            if task.task in tasks:
                yield from self._task_rows(point, again, task, tasks[task.task])
            else:
                reason = "the task was not run again"
                yield Row(point.name, task.task, "task", None, None, DIFFERS, reason)

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
        yield from count_rows(point.name, one, two, limited=self._limited)
