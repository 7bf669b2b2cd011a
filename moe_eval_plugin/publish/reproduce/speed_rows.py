"""Compare speeds of a sweep and its repetition: speed-ups over the published k, and rates.

A speed has an interval only if it was measured several times, with several seeds for instance. A
single measurement is shown and not judged, unless ``--speed-within`` sets how far it may be off.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED, Row
from moe_eval_plugin.stats.speed import median_interval, speed_ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moe_eval_plugin.publish.bundle.finished import FinishedPoint, Setting
    from moe_eval_plugin.publish.reproduce.agreement import Verdict
    from moe_eval_plugin.results.run import Run
    from moe_eval_plugin.stats.resampling import Interval

    Pair = tuple[FinishedPoint, FinishedPoint]

# Label of a rate divided by that of the published k.
SPEED_UP = "ratio to baseline"
RATES = ("samples_per_s", "output_tokens_per_s")
# By chance, two series of four do not overlap in 2 of 70 cases, two of three in 2 of 20.
MIN_MEASUREMENTS = 4
MACHINE_FACTS = ("kind", "name", "n_devices", "threads")
TOO_FEW = f"no interval with fewer than {MIN_MEASUREMENTS} measurements (see --speed-within)"


@dataclass(frozen=True)
class _Measured:
    """A rate in both runs, with its intervals if there are enough measurements."""

    original: float
    again: float
    intervals: tuple[Interval | None, Interval | None]


class Speeds:
    """Compares the speeds of all points that both runs have.

    ``within`` is the share by which a speed may differ; ``None`` judges by intervals. Points that
    differ only in their seeds are repetitions of one setting.
    """

    def __init__(self, pairs: Sequence[Pair], within: float | None) -> None:
        self._within = within
        self._groups: dict[Setting | None, list[Pair]] = {}
        for pair in pairs:
            self._groups.setdefault(pair[0].setting, []).append(pair)
        baselines = [group for group in self._groups.values() if group[0][0].is_baseline]
        self._baseline = baselines[0] if baselines else None
        self._machine_changes = machine_differences(pairs)

    def rows(self) -> Iterator[Row]:
        """Yield rows for each rate: its speed-up over the baseline, then the rate itself."""
        for group in self._groups.values():
            for task in [task.task for task in group[0][0].run.tasks]:
                for rate in RATES:
                    yield from self._rows(group, task, rate)

    def _rows(self, group: Sequence[Pair], task: str, rate: str) -> Iterator[Row]:
        own = _rates(group, task, rate)
        if not own[0]:
            return
        name = group[0][0].name
        base = _rates(self._baseline, task, rate) if self._baseline else ([], [])
        if self._baseline is not None and group is not self._baseline and all((*own, *base)):
            ratio = _ratio(own, base)
            yield self._row((name, task, f"{rate}, {SPEED_UP}"), ratio, judged=True)
        if own[1]:
            yield self._row((name, task, rate), _plain(own), judged=not self._machine_changes)
        else:
            reason = "it was not measured again"
            yield Row(name, task, rate, own[0][0], None, NOT_JUDGED, reason, kind="speed")

    def _row(self, names: tuple[str, str, str], found: _Measured, *, judged: bool) -> Row:
        values = found.original, found.again
        interval = found.intervals[1]
        if not judged:
            reason = f"another machine: {'; '.join(self._machine_changes)}"
            return Row(*names, *values, NOT_JUDGED, reason, interval, "speed")
        verdict, reason = self._judge(found)
        return Row(*names, *values, verdict, reason, interval, "speed")

    def _judge(self, found: _Measured) -> tuple[Verdict, str]:
        change = found.again / found.original - 1
        if self._within is not None:
            fits = abs(change) <= self._within
            word = "within" if fits else "beyond"
            return (AGREES if fits else DIFFERS), f"{change:+.1%}, {word} {self._within:.1%}"
        before, now = found.intervals
        if before is None or now is None:
            return NOT_JUDGED, f"{change:+.1%}; {TOO_FEW}"
        overlap = before.low <= now.high and now.low <= before.high
        text = (
            f"intervals {before.low:.3g} to {before.high:.3g} and {now.low:.3g} to {now.high:.3g} "
            f"({before.confidence:.0%}, {now.confidence:.0%}) "
            f"{'overlap' if overlap else 'do not overlap'}"
        )
        return (AGREES if overlap else DIFFERS), text


def machine_differences(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """List the differences of the machines of two runs that change speed."""
    found: dict[str, None] = {}
    for one, two in pairs:
        before, now = _machine(one.run), _machine(two.run)
        for name in before:
            if before[name] != now.get(name):
                found[f"{name} {before[name]} -> {now.get(name)}"] = None
    return tuple(found)


def _machine(run: Run) -> dict[str, Any]:
    setup = run.setup
    if setup is None:
        return {}
    facts = {name: getattr(setup.machine, name, None) for name in MACHINE_FACTS}
    return {**facts, "processes": setup.n_ranks}


def _rates(pairs: Sequence[Pair], task: str, rate: str) -> tuple[list[float], list[float]]:
    """Return the measured rates of all repetitions, of the original and of the new run."""
    found: tuple[list[float], list[float]] = ([], [])
    for pair in pairs:
        for point, rates in zip(pair, found, strict=True):
            records = [one.record for one in point.run.tasks if one.task == task]
            record = records[0] if records else None
            # A speed of the questions that a cache did not answer is not that of the task.
            is_whole = record is not None and not record.n_answers_from_cache
            value = getattr(record.speed, rate) if record and is_whole else None
            if value:
                rates.append(value)
    return found


def _plain(own: tuple[list[float], list[float]]) -> _Measured:
    before, now = own
    intervals = [median_interval(one) if len(one) >= MIN_MEASUREMENTS else None for one in own]
    return _Measured(median(before), median(now), (intervals[0], intervals[1]))


def _ratio(
    own: tuple[list[float], list[float]], base: tuple[list[float], list[float]]
) -> _Measured:
    found = [
        speed_ratio(rates, reference, paired=len(rates) == len(reference))
        for rates, reference in zip(own, base, strict=True)
    ]
    intervals = [one.interval if (one.n_pairs or 0) >= MIN_MEASUREMENTS else None for one in found]
    return _Measured(found[0].ratio, found[1].ratio, (intervals[0], intervals[1]))
