"""Draw the figures of the documentation: boxes, arrows, text and curves as SVG.

Each figure is readable in light and in dark colours, because it brings its own background. Lengths
are in pixels from the top left corner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
# Each colour in light and in dark; the series are those of Okabe and Ito, which are safe for most
# people with a colour vision deficiency.
COLOURS = {
    "paper": ("#ffffff", "#16181d"),
    "ink": ("#1f2328", "#e6e6e6"),
    "soft": ("#5b6470", "#9aa4b0"),
    "line": ("#c3c9d0", "#4a515b"),
    "panel": ("#f3f5f7", "#22262d"),
    "blue": ("#0072b2", "#56b4e9"),
    "orange": ("#b85c00", "#e69f00"),
    "green": ("#007a5a", "#2fc79a"),
    "red": ("#b3261e", "#f28b82"),
}


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the rectangle."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass
class Drawing:
    """A figure that grows by each call, and ``text()`` of which is the SVG file."""

    width: int
    height: int
    title: str
    """What one sees, for people who do not see it."""
    parts: list[str] = field(default_factory=list)

    def box(self, box: Box, label: str = "", *, fill: str = "panel", edge: str = "line") -> Box:
        """Draw a rectangle with a centred label of one or more lines, and return it."""
        self.parts.append(
            f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" '
            f'rx="5" class="fill-{fill} edge-{edge}"/>'
        )
        x, y = box.centre
        lines = label.split("\n") if label else []
        for number, line in enumerate(lines):
            self.write(x, y + 5 + 18 * (number - (len(lines) - 1) / 2), line, anchor="middle")
        return box

    def write(
        self, x: float, y: float, text: str, *, anchor: str = "start", style: str = "ink"
    ) -> None:
        """Write a line of text; ``style`` is a colour, or ``strong``, ``small`` or both."""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" '
            f'class="{_text_classes(style)}">{escape(text)}</text>'
        )

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], *, colour: str = "soft"
    ) -> None:
        """Draw a straight arrow."""
        self.parts.append(
            f'<path d="M {start[0]:g} {start[1]:g} L {end[0]:g} {end[1]:g}" '
            f'class="edge-{colour} wide" marker-end="url(#head-{colour})"/>'
        )

    def curve(
        self, points: list[tuple[float, float]], *, colour: str = "blue", dash: str = ""
    ) -> None:
        """Draw a line through points; ``dash`` is the pattern of a dashed one, such as ``4 3``."""
        path = " L ".join(f"{x:.1f} {y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<path d="M {path}" class="edge-{colour} wide"{dashed}/>')

    def dot(self, x: float, y: float, *, colour: str = "blue", radius: float = 5) -> None:
        """Draw a filled circle."""
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="fill-{colour}"/>'
        )

    def interval(
        self,
        ends: tuple[tuple[float, float], tuple[float, float]],
        middle: tuple[float, float],
        *,
        colour: str = "blue",
    ) -> None:
        """Draw a horizontal interval between two places, with a dot for its estimate."""
        (left, y), (right, _) = ends
        for line in ([*ends], *([(x, y - 5), (x, y + 5)] for x in (left, right))):
            self.curve(line, colour=colour)
        self.dot(*middle, colour=colour)

    def text(self) -> str:
        """Return the SVG file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img">'
        )
        ground = f'<rect width="{self.width}" height="{self.height}" class="fill-paper"/>'
        return "\n".join(
            [
                head,
                f"<title>{escape(self.title)}</title>",
                f"<style>{_style()}</style>",
                f"<defs>{''.join(map(_head, COLOURS))}</defs>",
                ground,
                *self.parts,
                "</svg>\n",
            ]
        )


@dataclass(frozen=True)
class Axes:
    """The plot area of a chart, and the ranges of values that it shows."""

    area: Box
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a pair of values."""
        return (
            self.area.x + self.area.width * _share(x, self.x_range),
            self.area.y + self.area.height * (1 - _share(y, self.y_range)),
        )

    def draw(self, drawing: Drawing, x_ticks: dict[float, str], y_ticks: dict[float, str]) -> None:
        """Draw both axes, with labelled ticks and a grid."""
        bottom, left = self.area.y + self.area.height, self.area.x
        for x, label in x_ticks.items():
            place = self.at(x, self.y_range[0])[0]
            drawing.curve([(place, self.area.y), (place, bottom)], colour="line")
            drawing.write(place, bottom + 18, label, anchor="middle", style="soft small")
        for y, label in y_ticks.items():
            place = self.at(self.x_range[0], y)[1]
            drawing.curve([(left, place), (left + self.area.width, place)], colour="line")
            drawing.write(left - 8, place + 4, label, anchor="end", style="soft small")


def _share(value: float, limits: tuple[float, float]) -> float:
    return (value - limits[0]) / (limits[1] - limits[0])


def _text_classes(style: str) -> str:
    words = style.split()
    colour = next((word for word in words if word in COLOURS), "ink")
    return " ".join([f"fill-{colour}", *(word for word in words if word not in COLOURS)])


def _head(colour: str) -> str:
    return (
        f'<marker id="head-{colour}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" class="fill-{colour}"/>'
        "</marker>"
    )


def _style() -> str:
    light, dark = (
        "".join(
            f".fill-{name}{{fill:{pair[i]}}}.edge-{name}{{stroke:{pair[i]}}}"
            for name, pair in COLOURS.items()
        )
        for i in range(2)
    )
    return (
        f"text{{font:14px {FONT}}}.small{{font-size:12px}}.strong{{font-weight:600}}"
        f"path{{fill:none}}.wide{{stroke-width:1.5}}marker path{{stroke:none}}{light}"
        f"@media (prefers-color-scheme:dark){{{dark}}}"
    )
