"""Figure on what a router chooses, and what its statistics are."""

from __future__ import annotations

import numpy as np
from svg import Box, Drawing

from moe_eval_plugin.routing.statistics.scores import margins_of, token_mass
from moe_eval_plugin.routing.trace import LayerTrace

# Made-up scores of one token, before they are divided by their sum.
WEIGHTS = (30, 24, 19, 16, 9, 7, 6, 5, 3.2, 2.8, 2.4, 2, 1.6, 1.3, 1, 0.7)
PUBLISHED_K, K = 8, 4
LEFT, BOTTOM, HEIGHT, STEP, WIDTH = 18, 236, 150, 24, 18


def one_token() -> str:
    """Draw the scores of a token, what a smaller k keeps of them, and the margin."""
    layer = _layer()
    mass, margins = token_mass(layer), margins_of(layer, np.array([True]))
    assert mass is not None  # noqa: S101
    assert margins is not None  # noqa: S101
    retained, margin = mass.values[0, K - 1], margins[K - 1].margin.mean
    drawing = Drawing(
        420,
        272,
        "The scores of one token for 16 experts, from large to small, as bars. The published k "
        f"chooses the first 8, k=4 only the first 4. These have {retained:.2f} of the weight of "
        f"the 8. The margin at k=4 is the 4th score minus the 5th, {margin:.3f}.",
    )
    legend = (("green", "kept at k=4"), ("orange", "dropped"), ("line", "not chosen"))
    for place, (colour, label) in enumerate(legend):
        left = (18, 154, 266)[place]
        drawing.box(Box(left, 14, 14, 14), fill=colour, edge=colour)
        drawing.write(left + 20, 26, label)
    scores = _scores()
    tops = [BOTTOM - HEIGHT * float(score / scores[0]) for score in scores]
    for rank, top in enumerate(tops):
        colour = "green" if rank < K else "orange" if rank < PUBLISHED_K else "line"
        drawing.box(Box(LEFT + rank * STEP, top, WIDTH, BOTTOM - top), fill=colour, edge=colour)
    # The step from the last expert that is kept to the first one that is dropped.
    begin, end = LEFT + (K - 1) * STEP, LEFT + (K + 1) * STEP
    for top in tops[K - 1 : K + 1]:
        drawing.curve([(begin, top), (end + 20, top)], colour="ink", dash="4 3")
    drawing.write(end + 28, sum(tops[K - 1 : K + 1]) / 2 + 5, f"margin at k=4: {margin:.3f}")
    drawing.write(end + 28, 84, f"retained mass at k=4: {retained:.2f}")
    drawing.write(end + 28, 104, "green / (green + orange)", style="soft")
    drawing.write(210, 258, "experts, by score", anchor="middle", style="soft")
    return drawing.text()


def _scores() -> np.ndarray:
    weights = np.array(WEIGHTS)
    return (weights / weights.sum()).astype(np.float32)


def _layer() -> LayerTrace:
    return LayerTrace(
        path="layer 0",
        num_experts=len(WEIGHTS),
        num_zero_experts=0,
        published_k=PUBLISHED_K,
        experts=np.arange(len(WEIGHTS), dtype=np.int16)[None],
        scores=_scores()[None],
    )


FIGURES = {"router-of-one-token": one_token}
