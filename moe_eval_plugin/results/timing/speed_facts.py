"""Facts on the speed of a finished task: from the timed pass of its sweep, or else of its run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.rows import HIGHER_IS_BETTER
from moe_eval_plugin.results.run import ScoreRow
from moe_eval_plugin.results.timing.of_run import find_timed_run, size_shown

if TYPE_CHECKING:
    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.results.run import Run, TaskRun
    from moe_eval_plugin.stats.speed import SpeedRatio

TIMED_REQUESTS = "timed pass"
TIMED_ONCE = "timed once, while the task was answered"
TASK_THROUGHPUT = "task throughput: questions shared their images"
SPEED_UP = "speed_up"


@dataclass(frozen=True)
class TimedTask:
    """One task of one setting, as a timed pass measured it."""

    batch_size: int
    """Questions that were answered at once."""
    record: RunRecord
    """The record of the task, with the speed, memory and energy of the timed pass."""
    speed_up: SpeedRatio | None
    """Speed-up over the published k; ``None`` for the published k itself."""

    def rows(self) -> list[ScoreRow]:
        """List the measured values as rows, the speed-up with them; none that is not known."""
        measured = {name: self.record.rows().get(name) for name in HIGHER_IS_BETTER}
        if self.speed_up is not None:
            measured[SPEED_UP] = self.speed_up.ratio
        return [
            ScoreRow(name, value, None, HIGHER_IS_BETTER.get(name, True))
            for name, value in measured.items()
            if value is not None
        ]


def find_timed_task(run: Run, task: TaskRun) -> TimedTask | None:
    """Return what a timed pass measured of a task; ``None`` without one.

    The batch size is that of ``size_shown``. Raises what ``find_timed_run`` raises.
    """
    timed, record = find_timed_run(run.path), task.record
    passes = timed.passes_of(task.task) if timed else {}
    size = size_shown(passes, record.setup.batch_size) if record else None
    if timed is None or record is None or size is None:
        return None
    one = passes[size]
    setting = timed.setting_in(one) or ""
    speed = one.speed(setting)
    if speed is None:
        return None
    measured = replace(record, speed=speed, hardware=one.hardware(setting), steady_decode=None)
    speed_up = None if setting == one.baseline else one.speed_up(setting)
    return TimedTask(size, replace(measured, n_answers_from_cache=None), speed_up)


def rows_with_timed(task: TaskRun, timed: TimedTask | None) -> list[ScoreRow]:
    """List the rows of a task; a value that was timed replaces that of the run."""
    measured = {row.metric: row for row in timed.rows()} if timed else {}
    return list({**{row.metric: row for row in task.scores}, **measured}.values())


def n_measured(task: TaskRun, timed: TimedTask | None, metric: str) -> int | None:
    """Return the questions behind a row: of the task, or those whose speed was measured.

    Answers of a cache took no time.
    """
    if timed is not None and metric in {row.metric for row in timed.rows()}:
        return timed.record.speed.n_samples
    is_measured = task.record is not None and metric in task.record.rows()
    return task.record.speed.n_samples if task.record and is_measured else task.n_samples


def speed_facts(record: RunRecord | None, timed: TimedTask | None) -> dict[str, Any]:
    """Return the facts on speed by the names of their fields in ``ScoreFacts``."""
    names = ("wall_s", "n_input_tokens", "n_output_tokens")
    counts = {name: getattr(record.speed, name) if record else None for name in names}
    counts["n_answers_from_cache"] = (record.n_answers_from_cache if record else 0) or None
    return {"samples_per_s": None, **counts, **_rates(record, timed)}


def _rates(record: RunRecord | None, timed: TimedTask | None) -> dict[str, Any]:
    if timed is not None:
        interval = timed.speed_up.interval if timed.speed_up else None
        return {
            "samples_per_s": timed.record.speed.samples_per_s,
            "speed_from": TIMED_REQUESTS,
            "timed_batch_size": timed.batch_size,
            "speed_up": timed.speed_up.ratio if timed.speed_up else None,
            "speed_up_low": interval.low if interval else None,
            "speed_up_high": interval.high if interval else None,
        }
    rate = record.speed.samples_per_s if record else None
    if record is None or rate is None:
        return {}
    if record.speed.is_shared:
        return {"task_samples_per_s": rate, "speed_from": TASK_THROUGHPUT}
    return {"samples_per_s": rate, "speed_from": TIMED_ONCE}
