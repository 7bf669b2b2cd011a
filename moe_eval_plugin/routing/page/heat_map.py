"""Heat maps of many cells: small images that take the colours of the page, and figures for files.

A map of 64 by 64 experts in each of 20 layers would be 80,000 elements of a page as a chart.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.report.charts.files import FILE_WIDTH
from moe_eval_plugin.report.charts.theme import COLOURS, LIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.report.charts.base import Figure

STRONGEST = 255
MOST_TICKS = 12
# Pixels of a row in a file.
ROW_HEIGHT = 18
STEPS = (1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100)


@dataclass(frozen=True)
class Axis:
    """Rows or columns of a map."""

    title: str
    """What they are, in the singular: ``expert``."""
    names: tuple[str, ...]

    @cached_property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Names to show, each with the middle of its cell as a share of the axis."""
        n = len(self.names)
        step = next((one for one in STEPS if -(-n // one) <= MOST_TICKS), n)
        return tuple(((at + 0.5) / n, self.names[at]) for at in range(0, n, step))

    @property
    def names_json(self) -> str:
        """The names as JSON; empty where they are 0, 1, 2 and so on."""
        counted = tuple(map(str, range(len(self.names))))
        return "" if self.names == counted else json.dumps(self.names)


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Values of rows by columns, from 0 to ``top`` and more."""

    name: str
    """Name of its files."""
    title: str
    caption: str
    description: str
    """Text in place of the map, with its numbers."""
    unit: str
    """What a value is."""
    rows: Axis
    columns: Axis
    values: NDArray[np.float64]
    """``(rows, columns)``; NaN has no colour."""
    top: float
    """Value of the strongest colour; larger ones have it too."""
    form: str = "share"
    """How values are shown: ``share`` as percent, ``times`` with a sign of multiplication."""

    @property
    def is_square(self) -> bool:
        """Whether the map has as many rows as columns."""
        return len(self.rows.names) == len(self.columns.names)

    @cached_property
    def largest(self) -> float:
        """The largest value; 0 where none is known."""
        import numpy as np

        known = self.values[np.isfinite(self.values)]
        return float(known.max()) if known.size else 0.0

    @property
    def top_text(self) -> str:
        """The value of the strongest colour, for the legend."""
        shown = f"{self.top:.0%}" if self.form == "share" else f"{self.top:.2g}×"
        return f"{shown} or more" if self.largest > self.top * 1.001 else shown

    @cached_property
    def mask(self) -> str:
        """The map as a PNG in a data URI, one pixel a cell; its opacity has the values."""
        import numpy as np

        return self._uri(np.zeros((*self.values.shape, 1), np.uint8), "LA")

    @cached_property
    def figure(self) -> Figure:
        """The map as a figure for a file, in light colours."""
        import altair as alt
        import numpy as np

        from moe_eval_plugin.report.charts.base import Figure, data

        n_rows, n_columns = self.values.shape
        height = FILE_WIDTH if self.is_square else ROW_HEIGHT * n_rows
        colour = COLOURS["series-1"][LIGHT]
        rgb = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        pixels = np.broadcast_to(np.array(rgb, np.uint8), (n_rows, n_columns, 3))
        image = (
            alt.Chart(data([{"url": self._uri(pixels, "RGBA", larger=True)}]))
            .mark_image(
                width=FILE_WIDTH,
                height=height,
                aspect=False,
                align="left",
                baseline="top",
                aria=False,
            )
            .encode(url="url:N", x=alt.value(0), y=alt.value(0))
        )
        corners = [{"row": at * n_rows - 0.5, "column": at * n_columns - 0.5} for at in (0, 1)]
        frame = (
            alt.Chart(data(corners))
            .mark_point(opacity=0, aria=False)
            .encode(
                x=_axis(self.columns, "column", alt.X, is_reversed=False),
                y=_axis(self.rows, "row", alt.Y, is_reversed=True),
            )
        )
        chart: Any = alt.layer(image, frame).properties(width=FILE_WIDTH, height=height)
        title = f"{self.title} (strongest colour: {self.top_text})"
        return Figure(self.name, title, self.caption, self.description, chart)

    def _uri(self, pixels: NDArray[np.uint8], mode: str, *, larger: bool = False) -> str:
        """Return a PNG of some colours, whose opacity has the values, as a data URI."""
        import numpy as np
        from PIL import Image

        shares = np.nan_to_num(self.values / self.top if self.top else self.values * 0)
        opacity = (np.clip(shares, 0, 1) * STRONGEST).round().astype(np.uint8)
        array = np.concatenate([pixels, opacity[..., None]], axis=2)
        image = Image.fromarray(array, mode)
        if larger:
            # Programs that show files smooth an image that they enlarge.
            scale = -(-FILE_WIDTH // image.width)
            size = (image.width * scale, image.height * scale)
            image = image.resize(size, Image.Resampling.NEAREST)
        content = io.BytesIO()
        image.save(content, "PNG", optimize=True)
        return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def _axis(axis: Axis, field: str, kind: type, *, is_reversed: bool) -> object:
    """Return the encoding of an axis whose cells are at 0, 1, 2 and so on."""
    import altair as alt

    n = len(axis.names)
    ends = [-0.5, n - 0.5]
    places = {round(at * n - 0.5): name for at, name in axis.ticks}
    return kind(
        f"{field}:Q",
        title=axis.title,
        scale=alt.Scale(domain=ends[::-1] if is_reversed else ends, nice=False, zero=False),
        axis=alt.Axis(grid=False, values=[*places], labelExpr=f"{json.dumps(places)}[datum.value]"),
    )


def top_of(values: Sequence[float], most: float | None = None) -> float:
    """Return the value of the strongest colour: the largest one, but at most ``most``."""
    largest = max(values, default=0.0)
    return largest if most is None else min(largest, most)
