"""Figures on how speed is measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from svg import Axes, Box, Drawing

from moe_eval_plugin.stats.speed import paired_ratio

if TYPE_CHECKING:
    from types import ModuleType

    from moe_eval_plugin.stats.speed import SpeedRatio

SIMULATION = Path(__file__).parents[2] / "benchmarks" / "simulated_timing.py"
COLOURS = {"k=8": "blue", "k=4": "green", "k=2": "orange"}
WIDTHS = {"k=8": 96, "k=4": 68, "k=2": 56}
# The second block is that of the slow minute.
SLOW, SLOWED_BY = 1, 1.35
N_BATCHES = 24


def blocks() -> str:
    """Draw the order of settings in three blocks of a timed pass, as long as each takes."""
    drawing = Drawing(
        420,
        200,
        "Three blocks, one below the other. In each block k=8, k=4 and k=2 answer the same batch, "
        "in an order that differs from block to block. During block 2 the machine is slow: all "
        "three settings take longer there, by the same factor.",
    )
    orders = (("k=8", "k=4", "k=2"), ("k=4", "k=2", "k=8"), ("k=2", "k=8", "k=4"))
    drawing.box(Box(6, 60, 408, 50), fill="paper", edge="red")
    for number, order in enumerate(orders):
        top = 14 + number * 54
        drawing.write(
            14, top + (16 if number == SLOW else 22), f"Block {number + 1}", style="strong"
        )
        if number == SLOW:
            drawing.write(14, top + 34, "slow minute", style="red small")
        left = 92.0
        for setting in order:
            width = WIDTHS[setting] * (SLOWED_BY if number == SLOW else 1)
            drawing.box(Box(left, top, width, 34), setting, edge=COLOURS[setting])
            left += width + 4
    drawing.arrow((92, 182), (408, 182))
    drawing.write(14, 187, "time", style="soft")
    return drawing.text()


def one_request() -> str:
    """Draw the parts of the time of one request, and what the names of the results cover."""
    drawing = Drawing(
        420,
        200,
        "The time of a request as a bar of five parts: encode, vision, prefill, decode and the "
        "rest. ttft_s covers the first three, generate_s covers vision, prefill and decode, and "
        "wall_s covers all five.",
    )
    parts = (("encode", 84, "line"), ("vision", 66, "blue"), ("prefill", 72, "blue"))
    parts += (("decode", 118, "blue"), ("rest", 48, "line"))
    left, edges = 16.0, [16.0]
    for label, width, edge in parts:
        drawing.box(Box(left, 16, width, 38), label, edge=edge)
        left += width
        edges.append(left)
    spans = (("ttft_s", 0, 3), ("generate_s", 1, 4), ("wall_s", 0, 5))
    for row, (name, first, last) in enumerate(spans):
        y = 82 + row * 42
        drawing.curve([(edges[first], y - 8), (edges[first], y), (edges[last], y)], colour="soft")
        drawing.curve([(edges[last], y - 8), (edges[last], y)], colour="soft")
        drawing.write((edges[first] + edges[last]) / 2, y + 18, name, anchor="middle")
    return drawing.text()


def drift() -> str:
    """Draw the speed-ups that both ways of timing find on a machine that slows down."""
    module = _simulation()
    drawing = Drawing(
        420,
        292,
        "Speed-ups of k=4, k=2 and k=1 on a simulated machine that slows down by 30%. Timed in "
        "blocks, each 95% interval holds the true speed-up. Timed one setting after the other, "
        "all three are far below it, and no interval holds the truth.",
    )
    axes = Axes(Box(52, 56, 350, 184), (0.9, 2.0), (3.5, 0.5))
    ticks = {tick / 10: f"{tick / 10:g}×" for tick in range(10, 21, 2)}
    axes.draw(drawing, ticks, {})
    for place, (colour, name) in enumerate(
        (("ink", "true speed-up"), ("green", "in blocks"), ("red", "one after the other"))
    ):
        left = (14, 146, 246)[place]
        drawing.dot(left + 6, 25, colour=colour)
        drawing.write(left + 18, 30, name)
    found = zip(_in_blocks(module), _one_after_the_other(module), strict=True)
    for row, (name, (in_blocks, sequential)) in enumerate(
        zip(module.SETTINGS[1:], found, strict=True), start=1
    ):
        drawing.write(44, axes.at(1, row)[1] + 5, name.replace("k", "k="), anchor="end")
        truth = module.WORK[module.SETTINGS[0]] / module.WORK[name]
        drawing.dot(*axes.at(truth, row - 0.25), colour="ink")
        for ratio, place, colour in ((in_blocks, row, "green"), (sequential, row + 0.25, "red")):
            assert ratio.interval is not None  # noqa: S101
            ends = (ratio.interval.low, ratio.interval.high)
            drawing.curve([axes.at(end, place) for end in ends], colour=colour)
            drawing.dot(*axes.at(ratio.ratio, place), colour=colour, radius=4)
    drawing.write(227, 282, "speed-up over k=8", anchor="middle", style="soft")
    return drawing.text()


def _in_blocks(module: ModuleType) -> list[SpeedRatio]:
    generator = np.random.default_rng(0)
    order = module.orders(1, N_BATCHES)
    return _ratios(module.timed(module.drifts, order, generator)[0])


def _one_after_the_other(module: ModuleType) -> list[SpeedRatio]:
    generator = np.random.default_rng(0)
    return _ratios(module.timed_one_after_the_other(module.drifts, 1, N_BATCHES, generator)[0])


def _ratios(seconds: Any) -> list[SpeedRatio]:  # noqa: ANN401  (an array of the program)
    baseline, *others = seconds.T.tolist()
    return [paired_ratio(own, baseline) for own in others]


def _simulation() -> ModuleType:
    """Import the benchmark, which is a program and no module of the package."""
    name = SIMULATION.stem
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, SIMULATION)
        assert spec is not None  # noqa: S101
        assert spec.loader is not None  # noqa: S101
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


FIGURES = {"timed-blocks": blocks, "time-of-a-request": one_request, "timing-under-drift": drift}
