"""Read the speed-ups of one setting over the published k: timed passes first, else the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.stats.speed import speed_ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from moe_eval_plugin.publish.bundle.finished import FinishedPoint
    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.stats.speed import SpeedRatio

SAMPLES = "samples_per_s"


def timed_speed_ups(
    timed: Iterable[TimedPass], points: Sequence[FinishedPoint], task: str
) -> dict[int, SpeedRatio]:
    """Map batch sizes to the speed-up of a setting, of which ``points`` are the repetitions."""
    found = {}
    for one in timed:
        names = [point.name for point in points if point.name in one.settings]
        ratio = one.speed_up(names[0]) if names and one.task == task else None
        if ratio is not None:
            found[one.batch_size] = ratio
    return found


def recorded_speed_up(
    points: Sequence[FinishedPoint],
    baseline: Sequence[FinishedPoint],
    task: str,
    rate: str = SAMPLES,
) -> SpeedRatio | None:
    """Return a speed-up from the rates of the answering passes; ``None`` where it has no meaning.

    Settings were timed one after the other, so it has an interval only with several seeds. Where
    questions shared their images, the rate is that of the task, and no speed-up follows from it.
    """
    own, base = (requests_per_s(side, task, rate) for side in (points, baseline))
    if not own or not base:
        return None
    return speed_ratio(own, base, paired=1 < len(own) == len(base))


def requests_per_s(points: Sequence[FinishedPoint], task: str, rate: str) -> list[float]:
    """List the rates of all repetitions in which no questions shared their images."""
    return [value for value, is_shared in rates(points, task, rate) if not is_shared]


def rates(points: Sequence[FinishedPoint], task: str, rate: str) -> list[tuple[float, bool]]:
    """List the rates of all repetitions, each with whether questions shared their images.

    A speed of the questions that a cache did not answer is not that of the task.
    """
    records = [_records(point).get(task) for point in points]
    return [
        (value, record.speed.is_shared)
        for record in records
        if record is not None and not record.n_answers_from_cache
        if (value := getattr(record.speed, rate))
    ]


def batch_size_of(points: Sequence[FinishedPoint], task: str) -> int | None:
    """Return the batch size of the answering pass; ``None`` where it is not recorded."""
    record = _records(points[0]).get(task)
    return record.setup.batch_size if record else None


def _records(point: FinishedPoint) -> Mapping[str, RunRecord | None]:
    return {task.task: task.record for task in point.run.tasks}
