"""Compare the speeds of two runs: from the timed pass of their sweep, or else timed once each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.results.timing.of_run import find_timed_run, size_shown
from moe_eval_plugin.stats.speed import SpeedRatio
from moe_eval_plugin.text import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.results.run import Run, TaskRun
    from moe_eval_plugin.results.timing.of_run import TimedRun

SHARED = "questions shared their images, so these are rates of the task and not of requests"


@dataclass(frozen=True)
class RateComparison:
    """Questions per second of both runs at one batch size; ``None`` is not measured."""

    batch_size: int | None
    """Questions that were answered at once; ``None`` where the runs differ in it."""
    a: float | None
    """Questions per second of run A."""
    b: float | None
    """Questions per second of run B."""
    speed_up: SpeedRatio | None
    """B's by A's; without an interval where they were not timed by turns."""
    no_speed_up_because: str | None = None
    """Why there is no speed-up, where both were measured."""


@dataclass(frozen=True)
class SpeedComparison:
    """Speed, length of answers and memory of both runs; ``None`` is not measured."""

    rates: tuple[RateComparison, ...]
    """Questions per second at each batch size that was timed."""
    tokens_per_answer: tuple[float | None, float | None]
    """Mean tokens of an answer, over all questions."""
    peak_memory_gib: tuple[float | None, float | None]
    """Memory in tensors on the GPUs, or the RAM of the process where none is used."""


def compare_speed(a: tuple[Run, TaskRun], b: tuple[Run, TaskRun]) -> SpeedComparison | None:
    """Compare one task of two runs; ``None`` where nothing was measured in either."""
    one, two = a[1].record, b[1].record
    if one is None and two is None:
        return None
    sides = _side(*a), _side(*b)
    rates = list(_timed_together(*sides, a[1].task)) or [_timed_apart(*sides, a[1].task)]
    return SpeedComparison(
        rates=tuple(rates),
        tokens_per_answer=(_tokens(one), _tokens(two)),
        peak_memory_gib=(sides[0].memory_gib(a[1].task), sides[1].memory_gib(b[1].task)),
    )


@dataclass(frozen=True)
class _Side:
    timed: TimedRun | None
    record: RunRecord | None
    host: str

    def sizes(self, task: str) -> list[int]:
        """List the batch sizes at which a task was timed."""
        return sorted(self.timed.passes_of(task)) if self.timed else []

    def answering_size(self) -> int | None:
        """Return the batch size of the answering pass."""
        return self.record.setup.batch_size if self.record else None

    def timed_rate(self, task: str, size: int) -> float | None:
        """Return the questions per second of a timed pass."""
        one = self.timed.passes_of(task)[size] if self.timed else None
        setting = self.timed.setting_in(one) if self.timed and one else None
        speed = one.speed(setting) if one and setting else None
        return speed.samples_per_s if speed else None

    def memory_gib(self, task: str) -> float | None:
        """Return the peak of requests where they were timed, and else that of the run."""
        size = size_shown(self.sizes(task), self.answering_size())
        if size is None or self.timed is None:
            return self.record.peak_memory_gib if self.record else None
        one = self.timed.passes_of(task)[size]
        peak = one.hardware(self.timed.setting_in(one) or "").peak_memory
        return peak.used_bytes / GIB if peak else None


def _side(run: Run, task: TaskRun) -> _Side:
    return _Side(find_timed_run(run.path), task.record, run.host)


def _timed_together(a: _Side, b: _Side, task: str) -> Iterator[RateComparison]:
    """Yield the rates of two points of one sweep, which were timed by turns."""
    if a.timed is None or b.timed is None or a.timed.folder != b.timed.folder:
        return
    for size, one in sorted(a.timed.passes_of(task).items()):
        names = a.timed.setting_in(one), b.timed.setting_in(one)
        if names[0] is not None and names[1] is not None:
            ratio = one.ratio(names[1], names[0])
            yield RateComparison(size, a.timed_rate(task, size), b.timed_rate(task, size), ratio)


def _timed_apart(a: _Side, b: _Side, task: str) -> RateComparison:
    """Return the rates of two runs that were timed once each: no ratio if their settings differ."""
    sizes = [{*side.sizes(task), side.answering_size() or 0} for side in (a, b)]
    common = [size for size in sizes[0] & sizes[1] if size]
    own = a.answering_size()
    size = own if own in common else max(common, default=None)
    found = [_rate(side, task, size) for side in (a, b)]
    values = found[0][0], found[1][0]
    if values[0] is None or values[1] is None:
        return RateComparison(size, *values, None)
    reasons = [*_differences(a, b, size), *([SHARED] if found[0][1] and found[1][1] else [])]
    if found[0][1] != found[1][1]:
        reasons.append(f"questions shared their images in {'A' if found[0][1] else 'B'} only")
    if reasons:
        return RateComparison(size, *values, None, "; ".join(reasons))
    return RateComparison(size, *values, SpeedRatio(values[1] / values[0], None, 1))


def _rate(side: _Side, task: str, size: int | None) -> tuple[float | None, bool]:
    """Return questions per second, of the timed pass if there is one, and whether it is shared."""
    if size is not None and size in side.sizes(task):
        return side.timed_rate(task, size), False
    if side.record is None or side.record.n_answers_from_cache:
        return None, False
    return side.record.speed.samples_per_s, side.record.speed.is_shared


def _differences(a: _Side, b: _Side, size: int | None) -> Iterator[str]:
    """Yield each difference of the runs that changes speed, but for the setting itself."""
    if a.record is None or b.record is None:
        return
    one, two = a.record.setup, b.record.setup
    if a.host != b.host:
        yield f"host {a.host} -> {b.host}"
    if size is None and one.batch_size != two.batch_size:
        yield f"batch size {one.batch_size} -> {two.batch_size}"
    if one.device != two.device:
        yield f"device {one.device} -> {two.device}"
    for name, before in one.machine_facts.items():
        now = two.machine_facts[name]
        if before != now:
            yield f"machine: {name} {before} -> {now}"


def _tokens(record: RunRecord | None) -> float | None:
    return record.speed.mean_output_tokens if record else None
