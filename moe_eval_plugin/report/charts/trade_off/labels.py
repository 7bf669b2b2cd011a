"""Place the labels of points so that none covers a point, a bar, or another label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Of a system font of 12 pixels, a little more than its letters take.
CHARACTER_WIDTH, LABEL_HEIGHT = 7.0, 15.0
DISTANCES = (15.0, 22.0, 32.0, 44.0, 58.0, 74.0, 92.0)
# From this distance on a line shows whose label it is.
LEADER_FROM = 20.0
# To the right and below first: a curve that falls to the right leaves most room there, above it.
ANGLES = (0, 315, 270, 45, 90, 225, 180, 135, 20, 340, 290, 250, 70, 110)
# How bad it is to leave the plot and to cover something, by area, against a longer way.
OUTSIDE, COVERING = 50.0, 5.0


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    @property
    def area(self) -> float:
        """Its area."""
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True)
class Place:
    """Where the middle of a label is, from its point, in pixels."""

    dx: float
    dy: float
    leader: bool
    """Whether a line joins it with its point."""


def label_width(text: str) -> float:
    """Return about how wide a label is, in pixels."""
    return len(text) * CHARACTER_WIDTH


def place_labels(
    points: Sequence[tuple[float, float, str]],
    covered: Sequence[Box],
    size: tuple[float, float],
    lines: Sequence[tuple[float, float]] = (),
) -> list[Place]:
    """Return a place for the label of each point: the nearest one that is free, or the least bad.

    ``points`` have x, y and text, ``covered`` is what no label may hide, ``size`` the width and
    height of the plot, and ``lines`` are points on curves, which labels avoid where they can.
    """
    taken: list[Box] = []
    places: dict[int, Place] = {}
    for number in sorted(range(len(points)), key=lambda one: -_crowd(points, one)):
        x, y, text = points[number]

        def badness(place: Place, x: float = x, y: float = y, text: str = text) -> float:
            box = _box(x, y, text, place)
            return (
                COVERING * sum(box.overlap(other) for other in (*covered, *taken))
                + OUTSIDE * (box.area - box.overlap(Box(0, 0, *size)))
                + sum(12 for at in lines if _is_in(at, box))
                + 0.6 * math.hypot(place.dx, place.dy)
            )

        places[number] = min(_candidates(text), key=badness)
        taken.append(_box(x, y, text, places[number]))
    return [places[number] for number in range(len(points))]


def _candidates(text: str) -> Iterator[Place]:
    half = label_width(text) / 2
    for distance in DISTANCES:
        leader = distance >= LEADER_FROM
        # Above and below, a label that begins or ends near its point, too.
        for dx in (half - 8, 8 - half):
            yield Place(round(dx, 1), distance, leader)
            yield Place(round(dx, 1), -distance, leader)
        for angle in ANGLES:
            across, down = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
            # The nearest end of a label is as far away as its edge is.
            yield Place(
                round(across * (distance - 4 + half), 1),
                round(down * distance, 1),
                leader,
            )


def _box(x: float, y: float, text: str, place: Place) -> Box:
    half = label_width(text) / 2
    middle_x, middle_y = x + place.dx, y + place.dy
    return Box(
        middle_x - half,
        middle_y - LABEL_HEIGHT / 2,
        middle_x + half,
        middle_y + LABEL_HEIGHT / 2,
    )


def _crowd(points: Sequence[tuple[float, float, str]], number: int) -> float:
    """Return how near other points are: those with the least room choose first."""
    x, y, text = points[number]
    distances = [
        math.hypot(x - other_x, y - other_y)
        for other, (other_x, other_y, _) in enumerate(points)
        if other != number
    ]
    return label_width(text) - min(distances, default=math.inf)


def _is_in(point: tuple[float, float], box: Box) -> bool:
    return box.left <= point[0] <= box.right and box.top <= point[1] <= box.bottom
