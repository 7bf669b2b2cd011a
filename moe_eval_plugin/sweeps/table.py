"""The table of a sweep: a row for each task of each point, read from its results file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.results.timing.of_run import TimedRun, size_shown
from moe_eval_plugin.text import (
    GAP,
    HUNDRED,
    align,
    formatted,
    points_text,
    setting_label,
    terminal_width,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.measure.answer_ends import AnswerEnds
    from moe_eval_plugin.results.run import TaskRun
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.plan import SweepPoint

UNKNOWN = ""
# The last columns, with their widths; the names of settings and tasks are as wide as they need.
NUMBERS = (("observed", 8), ("accuracy", 8), ("points", 7), ("questions/s", 11))


@dataclass(frozen=True)
class Row:
    """The numbers of one task at one point; ``None`` where one is not known."""

    point: str
    """Name of the point."""
    task: str
    """Name of the task."""
    experts_k: str
    """The requested schedule of k."""
    observed_num_experts_per_tok: float | None
    """The k that tokens used."""
    metric: str | None
    """Name of the score."""
    score: float | None
    """The accuracy, from 0 to 1."""
    difference: float | None
    """The score minus the baseline's."""
    samples_per_s: float | None
    """Questions per second of the answering pass: task throughput where images were shared."""
    ratio: float | None
    """Speed-up of the timed pass; without one that of task throughput, which was timed once."""
    output_tokens_per_s: float | None
    """Output tokens per second."""
    answers: AnswerEnds | None
    """How the answers ended."""
    ratio_interval: tuple[float, float] | None = None
    """The 95% interval of the speed-up; ``None`` where it was timed once."""
    ratio_batch_size: int | None = None
    """Batch size of the timed pass; ``None`` without one."""

    @property
    def note(self) -> str | None:
        """What is to be said of this row: which answers were cut; ``None`` for nothing."""
        note = self.answers.note if self.answers else None
        return None if note is None else f"{setting_label(self.point)}, {self.task}: {note}"

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)


class Table:
    """The rows so far; each is compared with the baseline of its seed, which comes before it.

    Lines are as wide as the names of the points of the plan need, and those of its tasks, without
    groups and patterns.
    """

    def __init__(self, points: Sequence[SweepPoint] = (), tasks: Sequence[str] = ()) -> None:
        self.rows: list[Row] = []
        self._batch_sizes: list[int | None] = []
        self._baseline: dict[tuple[str, int | None], Row] = {}
        names = [setting_label(point.name) for point in points]
        self._setting_width = max(map(len, ["setting", *names]))
        self._task_width = 0 if len(tasks) == 1 else max([len("task"), *map(len, tasks)])

    def add(self, point: Mapping[str, Any], results: Path) -> list[Row]:
        """Read the results file of a point, and return its rows.

        ``point`` has the fields of ``SweepPoint``.
        """
        added = []
        for task in read_run(results).tasks:
            base = (task.task, point["seed"])
            row = _row(point, task, self._baseline.get(base))
            if point["is_baseline"]:
                self._baseline[base] = row
            added.append(row)
            self._batch_sizes.append(task.record.setup.batch_size if task.record else None)
        self.rows += added
        return added

    def header(self) -> str:
        """Return the line of column names."""
        return self._line("setting", "task", [name for name, _ in NUMBERS])

    def render(self, row: Row) -> str:
        """Return one row in columns; the difference in points of 100. It has no speed-up."""
        numbers = [
            _number(row.observed_num_experts_per_tok, ".2f"),
            _number(row.score, ".2%"),
            UNKNOWN if row.difference is None else points_text(row.difference * HUNDRED, sign=True),
            _number(row.samples_per_s, ".2f"),
        ]
        return self._line(setting_label(row.point), row.task, numbers)

    def timed_once(self) -> str:
        """Return the speed-ups of task throughput, which no repetition supports."""
        shown = [
            f"{setting_label(row.point)}, {row.task}: {row.ratio:.2f}×, timed once"
            for row in self.rows
            if row.ratio is not None
        ]
        return "\n".join(["", "No timed pass. Speed-up by task throughput:", *shown])

    def with_timed_passes(self, folder: Path, passes: Sequence[TimedPass]) -> list[Row]:
        """Return the rows with their speed-ups in the timed passes of the sweep's folder."""
        return [
            _with_speed(row, TimedRun(folder, row.point, tuple(passes)), size)
            for row, size in zip(self.rows, self._batch_sizes, strict=True)
        ]

    def _line(self, setting: str, task: str, numbers: Sequence[str]) -> str:
        columns = [(setting, self._setting_width)]
        if self._task_width:
            columns.append((task, self._task_width))
        n_names = len(columns)
        columns += [(cell, width) for cell, (_, width) in zip(numbers, NUMBERS, strict=True)]
        if sum(width + len(GAP) for _, width in columns) - len(GAP) > terminal_width():
            del columns[n_names]
        cells, widths = zip(*columns, strict=True)
        return align([cells], "l" * n_names + "r", widths)[0]


def _row(point: Mapping[str, Any], task: TaskRun, baseline: Row | None) -> Row:
    record = task.record
    value = record.score.value if record and record.score else None
    rate = record.speed.samples_per_s if record else None
    base_value = baseline.score if baseline else None
    base_rate = baseline.samples_per_s if baseline else None
    return Row(
        point=point["name"],
        task=task.task,
        experts_k=point["experts_k"],
        observed_num_experts_per_tok=record.experts.observed if record and record.experts else None,
        metric=record.score.metric if record and record.score else None,
        score=value,
        difference=None if value is None or base_value is None else value - base_value,
        samples_per_s=rate,
        ratio=rate / base_rate if rate and base_rate else None,
        output_tokens_per_s=record.speed.output_tokens_per_s if record else None,
        answers=record.answers if record else None,
    )


def _with_speed(row: Row, timed: TimedRun, batch_size: int | None) -> Row:
    of_task = timed.passes_of(row.task)
    size = size_shown(of_task, batch_size)
    one = None if size is None else of_task[size]
    setting = timed.setting_in(one) if one else None
    ratio = one.speed_up(setting) if one and setting else None
    if one is None or setting == one.baseline or ratio is None:
        return row
    interval = ratio.interval
    return replace(
        row,
        ratio=ratio.ratio,
        ratio_interval=(interval.low, interval.high) if interval else None,
        ratio_batch_size=one.batch_size,
    )


def _number(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else formatted(value, form)
