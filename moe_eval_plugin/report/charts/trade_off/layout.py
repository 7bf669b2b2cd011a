"""Lay out the main chart: rows with places for labels, for a wide and for a narrow plot."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from moe_eval_plugin.report.charts.trade_off.labels import Box, label_width, place_labels
from moe_eval_plugin.text import counted, points_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from moe_eval_plugin.report.charts.base import Row
    from moe_eval_plugin.report.charts.trade_off.labels import Place
    from moe_eval_plugin.report.charts.trade_off.points import PlotPoint
    from moe_eval_plugin.report.charts.trade_off.window import Window

HEIGHT = 225
# Widths that labels are placed for, without the axis; a wider plot only gives them more room.
WIDE, NARROW = 450, 255
# A plot below this width has the labels of the narrow one.
NARROW_BELOW = 400
POINT_RADIUS, RING_RADIUS, BAR = 6.0, 12.0, 3.0
STEPS_OF_A_LINE = 24
# Height of the margin, as a share of the plot, from which on the band has a text.
LEAST_BAND = 0.08
# Of a line of text, for each pixel: it is mostly digits.
CHARACTERS = 0.16
ToPixels: TypeAlias = "Callable[[float, float], tuple[float, float]]"


@dataclass(frozen=True)
class Words:
    """What a chart writes besides its numbers."""

    published: str
    """What follows the label of the baseline."""
    unit_of_x: str
    """Sign after a value of the horizontal axis."""
    band: str
    """Text in the shaded band, with a place for the margin; empty without a band."""


def rows(
    windows: Sequence[Window], recommended: Mapping[str, str | None], words: Words
) -> Iterator[Row]:
    """Yield a row for each setting that is drawn to scale in a window.

    ``recommended`` has the setting to mark in each window.
    """
    for window in windows:
        marked = recommended.get(window.name)
        texts = [
            f"{one.label}{words.published}" if one.is_baseline else one.label
            for one in window.shown
        ]
        wide, narrow = (_places(window, texts, marked, width, words) for width in (WIDE, NARROW))
        for number, one in enumerate(window.shown):
            yield {
                "window": window.name,
                "label": texts[number],
                **_values(one, window),
                "kind": _kind(one, marked),
                "of": one.kind.value,
                "front": one.on_front,
                **_place("wide", wide[number]),
                **_place("narrow", narrow[number]),
            }


def band_text(window: Window, words: Words) -> str:
    """Return what is written in the shaded band; nothing in one that is too low for it."""
    if not words.band or window.y.share(0) - window.y.share(-window.margin) < LEAST_BAND:
        return ""
    unit = "point" if window.margin == 1 else "points"
    return words.band.format(f"{window.margin:g} {unit}")


def off_text(window: Window, words: Words, *, narrow: bool = False) -> str:
    """Return the settings below the scale, with as many of their numbers as there is room for."""
    changes = [f"{one.label} {points_text(one.y.value)}" for one in window.off]
    forms = [
        f"▼ below: {', '.join(changes)}",
        f"▼ below: {', '.join(one.label for one in window.off)}",
        f"▼ below: {counted(len(window.off), 'setting')}",
    ]
    if not narrow:
        forms.insert(0, f"▼ off this scale: {', '.join(_off(one, words) for one in window.off)}")
    room = (NARROW if narrow else WIDE) * CHARACTERS
    return next(one for one in forms if len(one) <= room) if window.off else ""


def _off(one: PlotPoint, words: Words) -> str:
    x = f", {one.x.value:.2f}{words.unit_of_x}" if words.unit_of_x else ""
    return f"{one.label} ({points_text(one.y.value)} points{x})"


def _values(one: PlotPoint, window: Window) -> dict[str, Any]:
    """Return the values of a setting; bars end at the edge of the plot."""
    x, y = one.x, one.y
    has_x, has_y = x.low < x.high, y.low < y.high
    return {
        "x": x.value,
        "y": y.value,
        "x_low": window.x.clip(x.low) if has_x else None,
        "x_high": window.x.clip(x.high) if has_x else None,
        "y_low": window.y.clip(y.low) if has_y else None,
        "y_high": window.y.clip(y.high) if has_y else None,
        "of_x": f"{x.low:.2f} to {x.high:.2f}" if has_x else "not known",
        "of_y": f"{points_text(y.low)} to {points_text(y.high)}" if has_y else "not known",
    }


def _kind(one: PlotPoint, marked: str | None) -> str:
    if one.is_baseline:
        return "baseline"
    return "recommended" if one.label == marked else "other"


def _place(name: str, place: Place) -> dict[str, Any]:
    return {f"{name}_dx": place.dx, f"{name}_dy": place.dy, f"{name}_leader": place.leader}


def _places(
    window: Window, texts: Sequence[str], marked: str | None, width: float, words: Words
) -> list[Place]:
    """Return where the labels of a window go, in a plot of this width."""

    def at(x: float, y: float) -> tuple[float, float]:
        return window.x.share(x) * width, (1 - window.y.share(y)) * HEIGHT

    points = [at(one.x.value, one.y.value) for one in window.shown]
    covered = [
        box
        for one in window.shown
        for box in _marks(one, window, at, is_marked=one.label == marked)
    ]
    if text := band_text(window, words):
        covered.append(Box(width - label_width(text) - 6, 0, width, 18))
    if window.off:
        covered.append(Box(0, HEIGHT - 20, width, HEIGHT))
    named = [(x, y, text) for (x, y), text in zip(points, texts, strict=True)]
    return place_labels(named, covered, (width, HEIGHT), list(_line(window, points)))


def _marks(one: PlotPoint, window: Window, at: ToPixels, *, is_marked: bool) -> list[Box]:
    """Return what is drawn of a setting: its point and its bars."""
    radius = RING_RADIUS if is_marked else POINT_RADIUS
    x, y = at(one.x.value, one.y.value)
    left, bottom = at(window.x.clip(one.x.low), window.y.clip(one.y.low))
    right, top = at(window.x.clip(one.x.high), window.y.clip(one.y.high))
    return [
        Box(x - radius, y - radius, x + radius, y + radius),
        Box(left, y - BAR, right, y + BAR),
        Box(x - BAR, top, x + BAR, bottom),
    ]


def _line(window: Window, points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Yield points on the line through the Pareto front."""
    front = sorted(point for one, point in zip(window.shown, points, strict=True) if one.on_front)
    for (x, y), (next_x, next_y) in pairwise(front):
        for step in range(STEPS_OF_A_LINE):
            share = step / STEPS_OF_A_LINE
            yield x + share * (next_x - x), y + share * (next_y - y)
