"""Figures on what k costs: the FLOPs of a token, and the experts that a batch touches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from svg import Axes, Box, Drawing

from moe_eval_plugin.models.costs.cost_model import most_distinct
from moe_eval_plugin.models.inspection.stated import stated_model

if TYPE_CHECKING:
    from moe_eval_plugin.models.costs.cost_model import LanguageModelCost

BENCH = Path(__file__).parents[1] / "measurements" / "raw" / "bench-demo-cpu.json"
PUBLISHED, CONTEXT = 8, 1024
COLOURS = {8: "blue", 4: "green", 2: "orange"}
BATCH_SIZES = (1, 4, 16)


def prefill_flops() -> str:
    """Draw the FLOPs of a prompt's token in routed experts and in the rest, at several k."""
    cost = _cost_of_demo()
    largest = cost.prefill_flops(PUBLISHED, CONTEXT).total
    drawing = Drawing(
        480,
        240,
        "Bars of the FLOPs of one token of a prompt at k=8, 4, 2 and 1. The part of routed experts "
        "shrinks with k. Attention and the rest stay, so the speed-up has a ceiling.",
    )
    for row, k in enumerate((8, 4, 2, 1)):
        flops = cost.prefill_flops(k, CONTEXT)
        y, left = 56 + 44 * row, 56.0
        drawing.write(14, y + 19, f"k={k}", style="strong")
        for part, colour in (
            (flops.other + flops.head, "soft"),
            (flops.attention, "line"),
            (flops.routed, "blue"),
        ):
            width = 300 * part / largest
            drawing.box(Box(left, y, round(width, 1), 28), fill=colour, edge="paper")
            left = round(left + width, 1)
        ceiling = cost.prefill_ceiling(k, PUBLISHED, CONTEXT)
        label = "published k" if k == PUBLISHED else f"at most {ceiling:.2f}×"
        drawing.write(370, y + 19, label)
    for x, colour, label in ((56, "soft", "rest"), (122, "line", "attention scores")):
        _key(drawing, x, colour, label)
    _key(drawing, 274, "blue", "routed experts")
    return drawing.text()


def distinct_experts() -> str:
    """Draw how many experts of a layer a decode step reads: the bounds, and what was counted."""
    layers = _cost_of_demo().routed_layers
    drawing = Drawing(
        480,
        330,
        "The experts that one decode step touches in a layer, for batches of 1, 4 and 16 tokens at "
        "k=8, 4 and 2. Bars reach from the fewest to the most that are possible. Dots are counts, "
        "and lie near the lower end.",
    )
    axes = Axes(Box(52, 44, 410, 220), (0, 3), (0, 34))
    axes.draw(drawing, {}, {tick: str(tick) for tick in (0, 8, 16, 24, 32)})
    counted = _counted()
    for group, size in enumerate(BATCH_SIZES):
        middle = axes.at(group + 0.5, 0)[0]
        drawing.write(middle, 286, f"{size}", anchor="middle")
        for place, (k, colour) in enumerate(COLOURS.items()):
            x = middle + 34 * (place - 1)
            top = axes.at(0, max(most_distinct(layers, k, size)))[1]
            bottom = axes.at(0, k)[1]
            if bottom > top:
                bar = Box(x - 8, round(top - 2, 1), 16, round(bottom - top + 4, 1))
                drawing.box(bar, edge=colour)
            drawing.dot(x, axes.at(0, counted[k, size])[1], colour=colour)
    drawing.write(257, 312, "tokens in the batch", anchor="middle", style="soft")
    drawing.write(14, 26, "experts touched in a layer (of 32)", style="soft")
    for place, (k, colour) in enumerate(COLOURS.items()):
        drawing.dot(300 + 60 * place, 21, colour=colour)
        drawing.write(310 + 60 * place, 26, f"k={k}")
    return drawing.text()


def _key(drawing: Drawing, x: float, colour: str, label: str) -> None:
    drawing.box(Box(x, 18, 14, 14), fill=colour, edge="paper")
    drawing.write(x + 20, 30, label, style="soft")


def _cost_of_demo() -> LanguageModelCost:
    found = stated_model("demo")
    cost = found[2].cost if found else None
    if cost is None:
        message = "the configuration of the embedded model does not state its sizes"
        raise ValueError(message)
    return cost


def _counted() -> dict[tuple[int, int], float]:
    """Return the distinct experts of a decode step, a mean over layers, by k and batch size."""
    points = json.loads(BENCH.read_text("utf-8"))["points"]
    return {
        (one["num_experts_per_tok"], one["batch_size"]): one["distinct_experts_per_decode_step"]
        for one in points
    }


FIGURES = {"prefill-flops": prefill_flops, "distinct-experts": distinct_experts}
