"""Figures on why layers differ, and what a searched schedule is worth."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

from svg import Axes, Box, Drawing

RAW = Path(__file__).parents[1] / "measurements" / "raw"
PUBLISHED_K = 8
COLOURS = ("blue", "orange", "green", "red")


def loss_by_layer() -> str:
    """Draw what the embedded model loses where one layer alone uses fewer experts."""
    drawing = Drawing(
        420,
        300,
        "Loss of the embedded model when one of its four layers uses fewer experts, for k from 1 "
        "to 7. Layer 0 loses most at every k, almost 1 nat per token at k=1. Layers 2 and 3 lose "
        "less than a hundredth of that.",
    )
    axes = Axes(Box(66, 44, 338, 200), (7.2, 0.8), (-5.5, 0.2))
    x_ticks = {float(k): str(k) for k in range(1, 8)}
    y_ticks = {-float(power): f"{10.0**-power:g}" for power in range(5)} | {-5.0: "0.00001"}
    axes.draw(drawing, x_ticks, y_ticks)
    losses: dict[int, list[tuple[int, float]]] = {}
    with (RAW / "sensitivities-cpu.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            losses.setdefault(int(row["layer"]), []).append((int(row["k"]), float(row["loss"])))
    for (layer, points), colour in zip(losses.items(), COLOURS, strict=True):
        places = [axes.at(k, math.log10(loss)) for k, loss in points]
        drawing.curve(places, colour=colour)
        for place in places:
            drawing.dot(*place, colour=colour, radius=3.5)
        drawing.dot(20 + layer * 100, 21, colour=colour)
        drawing.write(30 + layer * 100, 26, f"layer {layer}")
    drawing.write(235, 286, "k in this layer, all others at 8", anchor="middle", style="soft")
    return drawing.text()


def searched_and_uniform() -> str:
    """Draw the accuracy of searched schedules and of the uniform k of their price."""
    content = json.loads((RAW / "tuned-schedules-cpu.json").read_text("utf-8"))
    accuracy = {row["name"]: row["accuracy"] for row in content["rows"]}
    pairs = {k: (accuracy[f"k={k}"], accuracy[f"tuned-{k / PUBLISHED_K:g}"]) for k in (4, 3, 2)}
    texts = [f"{k} experts {one:.1f}% against {two:.1f}%" for k, (one, two) in pairs.items()]
    drawing = Drawing(
        420,
        222,
        "Accuracy of a uniform k and of the searched schedule with the same number of experts per "
        f"token: {', '.join(texts)}.",
    )
    axes = Axes(Box(96, 44, 300, 120), (60, 102), (2.5, -0.5))
    axes.draw(drawing, {float(x): f"{x}%" for x in range(60, 101, 10)}, {})
    for place, (colour, label) in enumerate((("orange", "uniform k"), ("green", "searched"))):
        drawing.dot(20 + place * 130, 21, colour=colour)
        drawing.write(32 + place * 130, 26, label)
    for place, (k, ends) in enumerate(pairs.items()):
        drawing.write(88, axes.at(60, place)[1] + 5, f"{k} experts", anchor="end")
        drawing.curve([axes.at(end, place) for end in ends], colour="soft")
        for end, colour in zip(ends, ("orange", "green"), strict=True):
            drawing.dot(*axes.at(end, place), colour=colour, radius=6)
    drawing.write(246, 208, "accuracy on 9,673 questions", anchor="middle", style="soft")
    return drawing.text()


FIGURES = {"loss-by-layer": loss_by_layer, "searched-and-uniform": searched_and_uniform}
