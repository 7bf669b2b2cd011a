"""The table of a sweep: a row for each task of each point, read from its results file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.lmms_eval.files import read_run
from moe_eval_plugin.text import HUNDRED, align

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.measure.answer_ends import AnswerEnds
    from moe_eval_plugin.results.run import TaskRun

UNKNOWN = "-"
COLUMNS = (
    ("setting", 23),
    ("task", 13),
    ("k", 5),
    ("observed", 8),
    ("accuracy", 8),
    ("points", 7),
    ("questions/s", 11),
    ("speed-up", 8),
    ("tokens/s", 8),
)


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
    """Questions per second."""
    ratio: float | None
    """Speed-up: questions per second by the baseline's."""
    output_tokens_per_s: float | None
    """Output tokens per second."""
    answers: AnswerEnds | None
    """How the answers ended."""

    @property
    def note(self) -> str | None:
        """What is to be said of this row: which answers were cut; ``None`` for nothing."""
        note = self.answers.note if self.answers else None
        return None if note is None else f"{self.point}, {self.task}: {note}"

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)


class Table:
    """The rows so far; each is compared with the baseline of its seed, which comes before it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._baseline: dict[tuple[str, int | None], Row] = {}

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
        self.rows += added
        return added


def header() -> str:
    """Return the line of column names."""
    return _line([name for name, _ in COLUMNS])


def render(row: Row) -> str:
    """Return one row in columns; the difference in points of 100."""
    return _line(
        [
            row.point,
            row.task,
            row.experts_k,
            _number(row.observed_num_experts_per_tok, ".2f"),
            _number(row.score, ".2%"),
            _number(None if row.difference is None else row.difference * HUNDRED, "+.2f"),
            _number(row.samples_per_s, ".2f"),
            _speedup(row.ratio),
            _number(row.output_tokens_per_s, ".2f"),
        ]
    )


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


def _number(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else format(value, form)


def _speedup(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}x"


def _line(cells: Sequence[str]) -> str:
    return align([cells], "llr", [width for _, width in COLUMNS])[0]
