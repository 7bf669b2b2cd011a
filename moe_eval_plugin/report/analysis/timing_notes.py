"""What a report says of a timed pass: how it ended, and what makes its speeds unreliable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.results.timing.speed_checks import implausible_speeds, load_warnings
from moe_eval_plugin.text import HUNDRED, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.series import Series
    from moe_eval_plugin.results.timing.timed_pass import TimedPass


def sentences_on_timing(series: Series) -> Iterator[str]:
    """Yield how speeds were timed, one sentence or two for each batch size."""
    for one in series.passes:
        n = len(one.counted)
        if not n:
            yield f"The timed pass at batch size {one.batch_size} has no finished block yet."
            continue
        what = "block" if one.method == "interleaved" else "round"
        yield (
            f"Speeds at batch size {one.batch_size} are from the timed pass: {counted(n, what)} "
            f"over {counted(one.n_questions, 'question')}, every setting in each {what}, nothing "
            f"shared or cached. {_end(one, series)}"
        )


def speed_warnings(series: Series) -> Iterator[str]:
    """Yield what makes the speeds of timed passes unreliable, a sentence each."""
    labels = _labels(series)
    # A policy takes time to decide, so that fewer experts may well take longer.
    experts = {
        point.timed.name: point.k
        for point in series.points
        if point.timed is not None and point.k is not None and point.kind is not SettingKind.POLICY
    }
    loads = [block.load for one in series.passes for block in one.counted]
    yield from load_warnings(loads)
    for one in series.passes:
        at = f"At batch size {one.batch_size}: " if len(series.passes) > 1 else ""
        for found in implausible_speeds(one, experts):
            if found.setting in experts and found.slower_than in experts:
                yield f"{at}{found.sentence(lambda name: labels.get(name, name))}"


def _end(one: TimedPass, series: Series) -> str:
    """Return why a pass ended, with its widest interval."""
    widest, precision = _widest(one, series), f"{one.precision * HUNDRED:g}%"
    if one.ended_by == "precision":
        return f"It stopped when every interval was narrower than {precision} of its speed-up."
    if one.ended_by == "budget":
        return f"It stopped after its {one.budget_s:,.0f} s{widest}."
    if one.ended_by == "rounds":
        return f"It stopped after its last round{widest}."
    return f"It has not ended{widest}: repeat the command of the sweep to continue."


def _widest(one: TimedPass, series: Series) -> str:
    labels = _labels(series)
    widths = {
        labels.get(name, name): ratio.width
        for name in one.settings
        if name != one.baseline and (ratio := one.speed_up(name)) and ratio.width is not None
    }
    if not widths:
        return ""
    label = max(widths, key=lambda name: widths[name])
    return f"; the widest interval, for {label}, is {widths[label]:.1%} of its speed-up"


def _labels(series: Series) -> dict[str, str]:
    return {point.timed.name: point.label for point in series.points if point.timed}
