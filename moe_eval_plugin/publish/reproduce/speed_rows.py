"""Compare speeds of a sweep and its repetition: speed-ups over the published k, and rates.

A speed-up is reproduced if the interval of the ratio of the two speed-ups contains 1; the intervals
of all speed-ups hold together, so that one of many does not differ by chance alone. A speed-up that
turned from above 1 to below, or the other way round, is never reproduced. A speed that was timed
once, on either side, is shown and not judged, unless ``--speed-within`` sets how far it may be off.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from moe_eval_plugin.publish.reproduce import speed_ups
from moe_eval_plugin.publish.reproduce.agreement import (
    AGREES,
    DIFFERS,
    NOT_JUDGED,
    SPEED_UP,
    TIMED_ONCE,
    Row,
)
from moe_eval_plugin.results.rows import OF_A_TASK
from moe_eval_plugin.results.timing.of_run import size_shown
from moe_eval_plugin.stats.speed import median_interval, ratio_of_ratios

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moe_eval_plugin.publish.bundle.finished import FinishedPoint, Setting
    from moe_eval_plugin.publish.reproduce.agreement import Verdict
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.stats.resampling import Interval
    from moe_eval_plugin.stats.speed import SpeedRatio

    Pair = tuple[FinishedPoint, FinishedPoint]
    Timed = tuple[Sequence[TimedPass], Sequence[TimedPass]]

RATES = (speed_ups.SAMPLES, "output_tokens_per_s")
# The interval of two values is so wide that nearly everything agrees with it.
MIN_MEASUREMENTS = 3


class Speeds:
    """Compares the speeds of all points that both sweeps have.

    ``timed`` are the timed passes of both. ``within`` is the share by which a speed may differ;
    ``None`` judges by intervals. Points that differ only in their seeds are repetitions of one
    setting.
    """

    def __init__(self, pairs: Sequence[Pair], timed: Timed, within: float | None) -> None:
        self._within = within
        self._timed = timed
        self._groups: dict[Setting | None, list[Pair]] = {}
        for pair in pairs:
            self._groups.setdefault(pair[0].setting, []).append(pair)
        baselines = [group for group in self._groups.values() if group[0][0].is_baseline]
        self._baseline = _sides(baselines[0]) if baselines else None
        self._machine_changes = machine_differences(pairs)

    def rows(self) -> Iterator[Row]:
        """Yield for each setting and task the rows of its speed-ups, then those of its rates."""
        tasks = [
            (_sides(group), task.task)
            for group in self._groups.values()
            for task in group[0][0].run.tasks
        ]
        measured = [list(self._measured(sides, task)) for sides, task in tasks]
        n_compared = sum(_can_be_judged(one, two) for found in measured for _, one, two in found)
        for (sides, task), found in zip(tasks, measured, strict=True):
            for number, before, now in found:
                verdict, reason = self._judge_speed_up(before, now, n_compared)
                yield Row(
                    *(sides[0][0].name, task, number),
                    before.ratio,
                    now.ratio if now else None,
                    verdict,
                    reason,
                    interval=now.interval if now else None,
                    kind="speed",
                    original_interval=before.interval,
                )
            for rate in RATES:
                yield from self._rate(sides, task, rate)

    def _measured(
        self, sides: tuple[list[FinishedPoint], ...], task: str
    ) -> Iterator[tuple[str, SpeedRatio, SpeedRatio | None]]:
        """Yield name, original and repetition of each speed-up that the original has."""
        if self._baseline is None or sides == self._baseline:
            return
        before, now = (
            speed_ups.timed_speed_ups(timed, points, task)
            for timed, points in zip(self._timed, sides, strict=True)
        )
        once, once_again = self._recorded(sides, task, speed_ups.SAMPLES)
        if before:
            for batch, one in before.items():
                again = now.get(batch) if now else once_again
                yield f"{SPEED_UP}, batch size {batch}", one, again
        elif now and once is not None:
            size = speed_ups.batch_size_of(sides[0], task)
            found = size_shown(now, size) or 0
            yield f"{SPEED_UP}, batch size {found}", once, now[found]
        else:
            for rate in RATES:
                original, repeated = self._recorded(sides, task, rate)
                if original is not None:
                    yield f"{rate}, {SPEED_UP}", original, repeated

    def _recorded(
        self, sides: tuple[list[FinishedPoint], ...], task: str, rate: str
    ) -> tuple[SpeedRatio | None, ...]:
        return tuple(
            speed_ups.recorded_speed_up(own, base, task, rate)
            for own, base in zip(sides, self._baseline or ([], []), strict=True)
        )

    def _judge_speed_up(
        self, before: SpeedRatio, now: SpeedRatio | None, n_compared: int
    ) -> tuple[Verdict, str]:
        if now is None:
            return NOT_JUDGED, "it was not timed again"
        change, turned = now.ratio / before.ratio - 1, (before.ratio - 1) * (now.ratio - 1) < 0
        can_be_judged = _can_be_judged(before, now)
        ratio = ratio_of_ratios(before, now, n_compared) if can_be_judged else None
        if self._within is not None:
            agrees, reason = self._is_within(change)
        elif ratio is None or ratio.interval is None:
            n = min(one.n_pairs or 0 for one in (before, now))
            times = f"timed {n} times, fewer than {MIN_MEASUREMENTS}" if n > 1 else TIMED_ONCE
            return NOT_JUDGED, f"{change:+.1%}; {times} (see --speed-within)"
        else:
            agrees = not ratio.excludes_one
            reason = (
                f"now by then {ratio.ratio:.3f}, {ratio.interval.confidence:.0%} interval "
                f"{ratio.interval.low:.3f} to {ratio.interval.high:.3f} "
                f"{'contains' if agrees else 'does not contain'} 1"
            )
        if agrees and turned:
            return NOT_JUDGED, f"its sign changed; {reason}"
        return (AGREES if agrees else DIFFERS), reason

    def _rate(self, sides: tuple[list[FinishedPoint], ...], task: str, rate: str) -> Iterator[Row]:
        found = [speed_ups.rates(points, task, rate) for points in sides]
        if not found[0]:
            return
        shared = [any(is_shared for _, is_shared in one) for one in found]
        before, now = ([value for value, _ in one] for one in found)
        names = sides[0][0].name, task, f"{OF_A_TASK if shared[0] else ''}{rate}"
        if not now:
            reason = "it was not measured again"
            yield Row(*names, before[0], None, NOT_JUDGED, reason, kind="speed")
            return
        interval = _interval(now)
        if shared[0] != shared[1]:
            verdict, reason = NOT_JUDGED, "images were shared between questions in one run only"
        elif self._machine_changes:
            verdict, reason = NOT_JUDGED, f"another machine: {'; '.join(self._machine_changes)}"
        else:
            verdict, reason = self._judge_rate(before, now)
        yield Row(*names, median(before), median(now), verdict, reason, interval, "speed")

    def _judge_rate(self, original: Sequence[float], again: Sequence[float]) -> tuple[Verdict, str]:
        change = median(again) / median(original) - 1
        if self._within is not None:
            fits, reason = self._is_within(change)
            return (AGREES if fits else DIFFERS), reason
        before, now = _interval(original), _interval(again)
        if before is None or now is None:
            return NOT_JUDGED, f"{change:+.1%}; {TIMED_ONCE} (see --speed-within)"
        overlap = before.low <= now.high and now.low <= before.high
        text = (
            f"intervals {before.low:.3g} to {before.high:.3g} and {now.low:.3g} to {now.high:.3g} "
            f"({before.confidence:.0%}, {now.confidence:.0%}) "
            f"{'overlap' if overlap else 'do not overlap'}"
        )
        return (AGREES if overlap else DIFFERS), text

    def _is_within(self, change: float) -> tuple[bool, str]:
        within = self._within or 0.0
        fits = abs(change) <= within
        return fits, f"{change:+.1%}, {'within' if fits else 'beyond'} {within:.1%}"


def _can_be_judged(before: SpeedRatio, now: SpeedRatio | None) -> bool:
    """Whether both were timed often enough for an interval that says something."""
    return now is not None and min(before.n_pairs or 0, now.n_pairs or 0) >= MIN_MEASUREMENTS


def machine_differences(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """List the differences of the machines of two runs that change speed."""
    found: dict[str, None] = {}
    for one, two in pairs:
        before, now = (run.setup.machine_facts if run.setup else {} for run in (one.run, two.run))
        for name in before:
            if before[name] != now.get(name):
                found[f"{name} {before[name]} -> {now.get(name)}"] = None
    return tuple(found)


def _sides(group: Sequence[Pair]) -> tuple[list[FinishedPoint], ...]:
    return [one for one, _ in group], [two for _, two in group]


def _interval(rates: Sequence[float]) -> Interval | None:
    return median_interval(rates) if len(rates) >= MIN_MEASUREMENTS else None
