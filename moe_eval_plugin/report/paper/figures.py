"""Draw charts for a column of a paper: 3.3 inches wide, 8 point text, no title, as PDF and SVG.

A chart is laid out with its usual text of 12 pixels on more pixels, and then scaled as a whole, so
that its points and labels keep their distances.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.report.charts.theme import paper_config

if TYPE_CHECKING:
    from moe_eval_plugin.report.charts.base import Figure

WIDTH_IN = 3.3
POINTS_PER_IN = 72
TEXT_PT = 8
TEXT_PX = 12
SCALE = TEXT_PT / TEXT_PX
WIDTH_PX = round(WIDTH_IN * POINTS_PER_IN / SCALE)
HEIGHT_PX = 230
# The first one comes with vl-convert, so that a PDF has it on every machine.
FONT = "'Liberation Sans', Arial, Helvetica, sans-serif"
# Dark to light: they differ in grey print too.
COLOURS = ("#0b3c6f", "#c2571a", "#2f9e77", "#b48ad6", "#e0b93c", "#8a9099", "#000000", "#d98cb3")
SIZE = re.compile(r'\b(width|height)="([\d.]+)"')


def draw(figure: Figure) -> dict[str, bytes]:
    """Return a chart as PDF and SVG, by the ends of their names; nothing in it is a bitmap."""
    import vl_convert

    spec = _in_a_column(figure)
    config = {**paper_config(), "font": FONT, "padding": 2}
    config["range"] = {**config["range"], "category": list(COLOURS)}
    svg = vl_convert.vegalite_to_svg(spec, config=config)
    # A pixel of SVG is a point of PDF.
    pdf = vl_convert.svg_to_pdf(_resized(svg, SCALE, ""))
    return {".pdf": pdf, ".svg": _resized(svg, SCALE / POINTS_PER_IN, "in").encode()}


def _in_a_column(figure: Figure) -> dict[str, Any]:
    """Return the specification of a chart whose axes and labels fit into the width."""
    spec: dict[str, Any] = figure.chart.to_dict()
    spec.pop("title", None)
    fit = {"type": "fit", "contains": "padding"}
    own = {"width": WIDTH_PX, "height": HEIGHT_PX, "autosize": fit}
    return {**spec, **own, "description": figure.description}


def _resized(svg: str, factor: float, unit: str) -> str:
    """Return SVG in another size; its ``viewBox`` keeps its coordinates."""

    def size(found: re.Match[str]) -> str:
        return f'{found[1]}="{float(found[2]) * factor:.3f}{unit}"'

    head, end, rest = svg.partition(">")
    return SIZE.sub(size, head) + end + rest
