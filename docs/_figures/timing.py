"""Figures on how speed is measured."""

from __future__ import annotations

from svg import Box, Drawing

SETTINGS = {"k=8": "blue", "k=4": "green", "k=2": "orange"}
WIDTH, GAP, HEIGHT = 64, 4, 34


def blocks() -> str:
    """Draw the order of settings in three blocks of a timed pass."""
    drawing = Drawing(
        700,
        170,
        "Three blocks in a row. In each block every setting answers the same batch, in an order "
        "that differs from block to block. A slow minute covers the whole second block.",
    )
    orders = (("k=8", "k=4", "k=2"), ("k=4", "k=2", "k=8"), ("k=2", "k=8", "k=4"))
    for number, order in enumerate(orders):
        left = 20 + number * 226
        drawing.write(left, 30, f"Block {number + 1}", style="strong")
        drawing.write(left + 208, 30, f"batch {number + 1}", anchor="end", style="soft small")
        for place, setting in enumerate(order):
            box = Box(left + place * (WIDTH + GAP + 4), 44, WIDTH, HEIGHT)
            drawing.box(box, setting, edge=SETTINGS[setting])
    slow = Box(240, 96, 220, 24)
    drawing.box(slow, "slow minute", fill="paper", edge="red")
    drawing.arrow((20, 140), (680, 140))
    drawing.write(680, 160, "time", anchor="end", style="soft small")
    return drawing.text()


FIGURES = {"timed-blocks": blocks}
