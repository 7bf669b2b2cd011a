"""Conditions on the numbers of a report, such as ``loss(k=4) > 1``, and whether they are shown.

A condition holds only where the interval of its number lies on its side: what too few questions
cannot tell is not shown, in either direction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.stats import Interval
from moe_eval_plugin.text import HUNDRED, did_you_mean, points_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics

COMPARISON = re.compile(r"\s*(\w+)\s*\(([^()]*)\)\s*(>=|<=|>|<)\s*([+-]?\d+(?:\.\d+)?)\s*")
AND = re.compile(r"\s+and\s+")
ARGUMENT = re.compile(r"\s*(\w+)\s*=\s*(\"[^\"]*\"|[^\",]+?)\s*(?:,|$)")
ARGUMENTS = ("k", "setting", "task", "model")
FORM = 'Write, for example, "loss(k=4) > 1" or "speed_up(k=4) < 1.2 and accuracy(k=4) < 98".'


@dataclass(frozen=True)
class Comparison:
    """A number of a setting, and what it is compared with."""

    text: str
    """The comparison as it was written."""
    name: str
    """Name of the number: a key of ``QUANTITIES``."""
    arguments: dict[str, str]
    """What the number is of: ``k`` or ``setting``, and ``task`` and ``model`` where there are
    several."""
    is_above: bool
    """Whether the number has to be above the limit; else below."""
    limit: float
    """The limit, in points, percent, or as a ratio."""


@dataclass(frozen=True)
class Judged:
    """Whether a condition is shown, with its numbers."""

    shown: bool
    """Whether the intervals of all its numbers lie on its side."""
    text: str
    """The numbers with their intervals."""


@dataclass(frozen=True)
class Measured:
    """A number with the interval that decides."""

    text: str
    """The number, with its unit."""
    interval: Interval | None
    """Its interval, in the unit in which it is shown; ``None`` where it has none."""
    unit: str
    """Unit after the ends of the interval."""


def parse_condition(text: str) -> list[Comparison]:
    """Return the comparisons of a condition; raises ``InvalidArgumentError``."""
    return [_comparison(part, text) for part in AND.split(text)]


def judge(condition: Sequence[Comparison], series: Sequence[SeriesStatistics]) -> Judged:
    """Return whether all comparisons of a condition are shown.

    Raises ``InvalidArgumentError`` for a setting that is not there, one that is of several models
    or tasks, and a number that was not measured.
    """
    found = [_judged(one, *_chosen(one, series)) for one in condition]
    return Judged(all(one.shown for one in found), "; ".join(one.text for one in found))


def _comparison(part: str, text: str) -> Comparison:
    found = COMPARISON.fullmatch(part)
    if found is None:
        message = f"{text!r} is not a condition: {part.strip()!r} cannot be read. {FORM}"
        raise InvalidArgumentError(message)
    name, inside, sign, limit = found.groups()
    if name not in QUANTITIES:
        hint = did_you_mean(name, QUANTITIES)
        known = ", ".join(QUANTITIES)
        message = f"{name!r} of {text!r} is not known.{hint} Use one of: {known}. {FORM}"
        raise InvalidArgumentError(message)
    arguments = {key: value.strip('"') for key, value in ARGUMENT.findall(inside)}
    left = ARGUMENT.sub("", inside).strip()
    wrong = [key for key in arguments if key not in ARGUMENTS]
    if left or wrong or not {"k", "setting"} & arguments.keys():
        message = (
            f"{part.strip()!r} needs the setting in its parentheses, and takes "
            f"{', '.join(ARGUMENTS)}. {FORM}"
        )
        raise InvalidArgumentError(message)
    return Comparison(part.strip(), name, arguments, sign.startswith(">"), float(limit))


def _chosen(
    one: Comparison, series: Sequence[SeriesStatistics]
) -> tuple[SeriesStatistics, PointStatistics]:
    """Return the setting that a comparison is about."""
    of: dict[str, Callable[[SeriesStatistics], str]] = {
        "task": lambda one: one.series.task,
        "model": lambda one: one.series.name,
    }
    rest = list(series)
    for key, read in of.items():
        wanted = one.arguments.get(key)
        if wanted is not None:
            _check_known(one, key, wanted, [read(each) for each in rest])
            rest = [each for each in rest if read(each) == wanted]
    label = one.arguments.get("setting") or f"k={one.arguments['k']}"
    _check_known(one, "setting", label, [p.point.label for each in rest for p in each.points])
    found = [(each, p) for each in rest for p in each.points if p.point.label == label]
    if len(found) > 1:
        names = "; ".join(f"task={s.series.task}, model={s.series.name}" for s, _ in found)
        message = f"{one.text!r} is about one of several: {names}. Add the task or the model."
        raise InvalidArgumentError(message)
    return found[0]


def _check_known(one: Comparison, key: str, wanted: str, known: Sequence[str]) -> None:
    if wanted not in known:
        names = list(dict.fromkeys(known))
        message = (
            f"{one.text!r} names the {key} {wanted}, which is not in this report."
            f"{did_you_mean(wanted, names)} It has: {', '.join(names)}."
        )
        raise InvalidArgumentError(message)


def _judged(one: Comparison, numbers: SeriesStatistics, point: PointStatistics) -> Judged:
    measured = QUANTITIES[one.name](numbers, point)
    name, label = one.name.replace("_", "-"), point.point.label
    if point.point.is_baseline and one.name != "accuracy":
        message = f"{one.text!r} compares {label}, the published k, with itself. Name another k."
        raise InvalidArgumentError(message)
    if measured is None:
        message = (
            f"{one.text!r} cannot be judged: the {name} of {label} was not measured. It needs a "
            "run at the published k; a loss needs --log_samples in both runs too."
        )
        raise InvalidArgumentError(message)
    text = f"the {name} of {label} is {measured.text}"
    interval = measured.interval
    if interval is None:
        return Judged(shown=False, text=f"{text}, timed once, which shows nothing")
    level = f"{interval.confidence * HUNDRED:.0f}% interval"
    ends = f"{points_text(interval.low)} to {points_text(interval.high)}{measured.unit}"
    text = f"{text} ({level} {ends})"
    if numbers.smoke_test:
        return Judged(shown=False, text=f"{text}, of a smoke test, which shows nothing")
    # As in the verdicts: a loss of exactly the margin counts as more.
    is_shown = interval.low >= one.limit if one.is_above else interval.high < one.limit
    return Judged(is_shown, text)


def _loss(numbers: SeriesStatistics, point: PointStatistics) -> Measured | None:
    """Return the loss in points, with the interval that decides about margins."""
    difference, scale = point.difference, numbers.scale
    if difference is None:
        return None
    ends = difference.equivalence_interval
    interval = Interval(-ends.high * scale, -ends.low * scale, ends.confidence)
    return Measured(f"{points_text(-difference.difference * scale)} points", interval, "")


def _accuracy(numbers: SeriesStatistics, point: PointStatistics) -> Measured | None:
    if point.interval is None:
        return None
    low, high = (end * numbers.scale for end in point.interval)
    unit = "%" if numbers.scale > 1 else ""
    value = f"{points_text(point.accuracy * numbers.scale)}{unit}"
    return Measured(value, Interval(low, high, 0.95), unit)


def _speed_up(_: SeriesStatistics, point: PointStatistics) -> Measured | None:
    ratio = point.speed_up
    return Measured(f"{ratio.ratio:.2f}×", ratio.interval, "×") if ratio else None


QUANTITIES: dict[str, Callable[[SeriesStatistics, PointStatistics], Measured | None]] = {
    "loss": _loss,
    "speed_up": _speed_up,
    "accuracy": _accuracy,
}
