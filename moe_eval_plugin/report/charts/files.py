"""Draw charts as files, with their titles, in light colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.charts.theme import paper_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.charts.base import Figure

FILE_WIDTH = 720
PNG_SCALE = 2


def drawn(figure: Figure) -> Iterator[tuple[str, bytes]]:
    """Yield the names and the contents of the files of a chart: SVG, and PNG."""
    import vl_convert

    chart = figure.chart.properties(width=FILE_WIDTH, title=figure.title)
    spec = {**chart.to_dict(), "description": figure.description}
    svg = vl_convert.vegalite_to_svg(spec, config=paper_config())
    yield f"{figure.name}.svg", svg.encode()
    yield f"{figure.name}.png", vl_convert.svg_to_png(svg, scale=PNG_SCALE)
