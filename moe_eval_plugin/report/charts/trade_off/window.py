"""What part of both axes the main chart shows: the region that decides, or all settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moe_eval_plugin.report.charts.trade_off.points import PlotPoint

# A setting that loses more than so many margins is named below the chart, and not drawn to scale.
MARGINS_SHOWN = 5
# With fewer, all are drawn to scale.
MIN_SHOWN = 2
# Least ranges, so that noise does not fill the chart: of speed-ups, and of the other axes as a
# share of their values.
LEAST_SPEED_UPS, LEAST_SHARE = 0.2, 0.1
# Room around the values, as a share of their range.
ROOM = 0.07
# An interval reaches out of the chart where it is far wider than the values lie apart.
WIDEST = 1.5
# Height of a line of text above or below the values, as a share of theirs.
STRIP = 0.09
STEPS = (1.0, 2.0, 5.0, 10.0)
MOST_TICKS = 7


@dataclass(frozen=True)
class Span:
    """A part of an axis, with its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Return where a value lies: 0 at the lower end, 1 at the upper one."""
        return (value - self.low) / (self.high - self.low)

    def holds(self, value: float) -> bool:
        """Whether a value lies in it."""
        return self.low <= value <= self.high

    def clip(self, value: float) -> float:
        """Return the nearest value that lies in it."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Window:
    """What a chart shows at one margin."""

    name: str
    """The margin in points, and ``all`` where every setting is drawn to scale."""
    margin: float
    """The margin in points."""
    x: Span
    """Part of the horizontal axis."""
    y: Span
    """Part of the vertical axis."""
    shown: tuple[PlotPoint, ...]
    """Settings that are drawn to scale."""
    off: tuple[PlotPoint, ...]
    """Settings that lie below."""


def windows_of_changes(
    points: Sequence[PlotPoint], margins: Iterable[float], least_x: float
) -> list[Window]:
    """List two windows for each margin: the region that decides, and all settings."""
    return [
        _window(points, margin, least_x, everything=everything)
        for margin in margins
        for everything in (False, True)
    ]


def window_of_all(
    points: Sequence[PlotPoint], least_x: float, limits: tuple[float, float]
) -> Window:
    """Return the window of a chart without a margin, which shows all settings.

    ``limits`` are the least and the largest possible value of the vertical axis.
    """
    ends = [end for point in points for end in (point.y.low, point.y.high)]
    y = _span(ends, LEAST_SHARE * max(map(abs, ends)))
    low, high = max(y.low, limits[0]), min(y.high, limits[1])
    y = Span(low, high, nice_ticks(low, high))
    return Window("all", 0.0, _across(points, least_x), y, tuple(points), ())


def nice_ticks(low: float, high: float, most: int = MOST_TICKS) -> tuple[float, ...]:
    """List multiples of 1, 2 or 5 times a power of ten between two values, at most ``most``."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in STEPS if one * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return tuple(round(number * step, digits) + 0.0 for number in range(first, last + 1))


def _window(
    points: Sequence[PlotPoint], margin: float, least_x: float, *, everything: bool
) -> Window:
    lowest = -math.inf if everything else -MARGINS_SHOWN * margin
    shown = tuple(one for one in points if one.y.value >= lowest)
    if len(shown) < MIN_SHOWN:
        lowest, shown = -math.inf, tuple(points)
    off = tuple(one for one in points if one not in shown)
    # At least a little more than the margin, so that its band is seen to end.
    ends = [-1.4 * margin, 0.45 * margin]
    ends += [
        min(max(end, lowest), max(-lowest, one.y.value))
        for one in shown
        for end in (one.y.low, one.y.high)
    ]
    return Window(
        name=f"{margin:g}{' all' if everything else ''}",
        margin=margin,
        x=_across(shown, least_x),
        y=_with_strips(_span(ends, 0.0), below=bool(off)),
        shown=shown,
        off=off,
    )


def _with_strips(span: Span, *, below: bool) -> Span:
    """Return an axis with room for a line of text above, and below; there are no ticks there."""
    strip = STRIP * (span.high - span.low)
    return replace(span, low=span.low - strip * below, high=span.high + strip)


def _across(points: Sequence[PlotPoint], least: float) -> Span:
    """Return the part of the horizontal axis, of which wide intervals do not take the most."""
    values = [one.x.value for one in points]
    reach = WIDEST * max(max(values) - min(values), least)
    ends = [
        min(max(end, min(values) - reach), max(values) + reach)
        for one in points
        for end in (one.x.low, one.x.high)
    ]
    return _span(ends, least)


def _span(ends: Sequence[float], least: float) -> Span:
    low, high = min(ends), max(ends)
    lacking = max(least - (high - low), 0.0) / 2
    room = ROOM * max(high - low, least) or 1.0
    low, high = low - lacking - room, high + lacking + room
    return Span(low, high, nice_ticks(low, high))
