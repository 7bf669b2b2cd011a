"""Figures on intervals: of pairs, against a margin, and of timed passes."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from svg import Axes, Box, Drawing

if TYPE_CHECKING:
    from moe_eval_plugin.stats import PairedDifference

MEASUREMENTS = Path(__file__).parents[1] / "measurements"
MARGIN = 0.01
# Questions, and how many of them were lost and gained.
RUNS = ((2000, 12, 6), (400, 6, 4), (2000, 70, 20))
NOMINAL = 0.95


def paired_intervals() -> str:
    """Draw the intervals of two accuracies, and of their difference with and without pairs."""
    drawing = Drawing(
        480,
        300,
        "Above: the accuracies at k=8 and k=4, whose 95% intervals overlap. Below: their "
        "difference. The interval of the paired difference is less than half as wide as that of "
        "two runs on different questions, and both exclude 0.",
    )
    rows = _rows_of_the_sweep()
    published, smaller = rows["k=8"], rows["k=4"]
    drawing.write(14, 26, "accuracy, %", style="strong")
    above = Axes(Box(112, 40, 350, 70), (98.4, 99.8), (0, 2))
    above.draw(drawing, {98.5: "98.5", 99: "99.0", 99.5: "99.5"}, {})
    for place, (name, row, colour) in enumerate(
        (("k=8", published, "blue"), ("k=4", smaller, "orange"))
    ):
        _interval(drawing, above, 1.5 - place, _ends(row, "score"), colour)
        drawing.write(14, above.at(0, 1.5 - place)[1] + 5, name)
    drawing.write(14, 168, "change at k=4, points", style="strong")
    below = Axes(Box(112, 182, 350, 70), (-1.0, 0.2), (0, 2))
    below.draw(drawing, {-1: "-1", -0.5: "-0.5", 0: "0"}, {})
    drawing.curve([below.at(0, 0), below.at(0, 2)], colour="soft")
    paired = _ends(smaller, "difference")
    for place, (name, ends, colour) in enumerate(
        (
            ("paired", paired, "green"),
            ("not paired", _unpaired(_ends(smaller, "score"), _ends(published, "score")), "red"),
        )
    ):
        _interval(drawing, below, 1.5 - place, ends, colour)
        drawing.write(14, below.at(0, 1.5 - place)[1] + 5, name)
    return drawing.text()


def margin_verdicts() -> str:
    """Draw three differences with their 90% intervals against a margin of one point."""
    from moe_eval_plugin.stats import equivalence

    drawing = Drawing(
        480,
        264,
        "Three changes in accuracy with 90% intervals, and a margin of 1 point. The first interval "
        "lies above minus 1: within 1 point. The second reaches over it: too few questions. The "
        "third lies below: loses more.",
    )
    axes = Axes(Box(176, 40, 290, 180), (-4, 1), (0, 3))
    axes.draw(drawing, {tick: str(tick) for tick in (-4, -3, -2, -1, 0, 1)}, {})
    drawing.write(460, 258, "change in accuracy, points", anchor="end", style="soft")
    drawing.curve([axes.at(-100 * MARGIN, 0), axes.at(-100 * MARGIN, 3)], colour="red", dash="5 4")
    drawing.write(axes.at(-100 * MARGIN, 3)[0], 30, "margin", anchor="middle", style="red")
    for row, (n_questions, lost, gained) in enumerate(RUNS):
        difference = _difference(n_questions, lost, gained)
        found = equivalence(difference, MARGIN)
        verdict, colour = "too few questions", "orange"
        if found.loses_at_most:
            verdict, colour = "within 1 point", "green"
        if found.loses_more:
            verdict, colour = "loses more", "red"
        ends = found.interval.low, difference.difference, found.interval.high
        level = 2.5 - row
        _interval(drawing, axes, level, tuple(100 * end for end in ends), colour)
        y = axes.at(0, level)[1]
        drawing.write(14, y, verdict, style=f"{colour} strong")
        drawing.write(14, y + 18, f"{n_questions:,} questions", style="soft")
    return drawing.text()


def timing_coverage() -> str:
    """Draw how often intervals of simulated passes hold the truth, by machine and order."""
    path = MEASUREMENTS / "raw" / "simulated-timing.json"
    machines = json.loads(path.read_text("utf-8"))["machines"]
    drawing = Drawing(
        520,
        96 + 26 * len(machines),
        "For each simulated machine, how often 95% intervals hold the true speed-up. In blocks of "
        "drawn order it is near 95% for all. A rotating order falls to 81% for one of them. One "
        "after the other it is near 0% on machines that become slower.",
    )
    axes = Axes(Box(246, 46, 258, 26.0 * len(machines)), (0, 1), (len(machines), 0))
    axes.draw(drawing, {0: "0%", 0.5: "50%", NOMINAL: "95%"}, {})
    ways = (
        ("one_after_the_other", "red", "one after the other"),
        ("rotating_order", "orange", "rotating"),
        ("in_blocks", "blue", "drawn order"),
    )
    for row, machine in enumerate(machines):
        drawing.write(
            14, axes.at(0, row + 0.5)[1] + 5, machine["machine"].replace(" on average", "")
        )
        for way, colour, _ in ways:
            drawing.dot(*axes.at(min(machine[way].values()), row + 0.5), colour=colour)
    for x, (_, colour, label) in zip((350, 246, 116), ways, strict=True):
        drawing.dot(x, 24, colour=colour)
        drawing.write(x + 10, 29, label)
    bottom = axes.area.y + axes.area.height
    drawing.write(
        504, bottom + 40, "share of intervals that hold the truth", anchor="end", style="soft"
    )
    return drawing.text()


def _interval(drawing: Drawing, axes: Axes, y: float, ends: tuple[float, ...], colour: str) -> None:
    low, middle, high = (axes.at(x, y) for x in ends)
    drawing.interval((low, high), middle, colour=colour)


def _rows_of_the_sweep() -> dict[str, dict[str, str]]:
    path = MEASUREMENTS / "demo-sweep" / "points.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return {row["setting"]: row for row in csv.DictReader(file)}


def _ends(row: dict[str, str], name: str) -> tuple[float, float, float]:
    return float(row[f"{name}_low"]), float(row[name]), float(row[f"{name}_high"])


def _unpaired(
    one: tuple[float, float, float], other: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Return the interval of a difference of two runs on questions of their own (MOVER)."""
    difference = one[1] - other[1]
    down = math.hypot(one[1] - one[0], other[2] - other[1])
    up = math.hypot(one[2] - one[1], other[1] - other[0])
    return difference - down, difference, difference + up


def _difference(n_questions: int, lost: int, gained: int) -> PairedDifference:
    from moe_eval_plugin.stats import paired_difference

    right = n_questions - gained
    own = [0.0] * lost + [1.0] * (n_questions - lost)
    base = [1.0] * right + [0.0] * gained
    return paired_difference(own, base)


FIGURES = {
    "paired-intervals": paired_intervals,
    "margin-verdicts": margin_verdicts,
    "timing-coverage": timing_coverage,
}
