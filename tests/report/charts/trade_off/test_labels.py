"""Labels cover neither points nor each other, however crowded it is."""

from __future__ import annotations

from itertools import combinations

import pytest

from moe_eval_plugin.report.charts.trade_off.labels import Box, label_width, place_labels

SIZE = (450.0, 225.0)
RADIUS = 6.0
CROWDED = [(200 + 9.0 * number, 60 + 4.0 * (number % 3), f"k={8 - number}") for number in range(8)]
AT_THE_EDGES = [(2.0, 2.0, "k=8 (published)"), (448.0, 222.0, "k=1"), (448.0, 4.0, "k=4")]


@pytest.mark.parametrize("points", [CROWDED, AT_THE_EDGES])
def test_no_label_covers_a_point_another_label_or_the_edge(
    points: list[tuple[float, float, str]],
) -> None:
    dots = [Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y, _ in points]

    places = place_labels(points, dots, SIZE)

    boxes = [
        Box(
            x + one.dx - label_width(text) / 2,
            y + one.dy - 7,
            x + one.dx + label_width(text) / 2,
            y + one.dy + 7,
        )
        for (x, y, text), one in zip(points, places, strict=True)
    ]
    assert sum(one.overlap(other) for one, other in combinations(boxes, 2)) == 0
    # By less than a pixel, at a corner.
    assert sum(box.overlap(dot) for box in boxes for dot in dots) < 1
    inside = [box.overlap(Box(0, 0, *SIZE)) / box.area for box in boxes]
    assert min(inside) == pytest.approx(1)


def test_a_label_with_room_is_next_to_its_point_and_needs_no_line() -> None:
    (place,) = place_labels([(200.0, 100.0, "k=4")], [], SIZE)

    assert abs(place.dx) + abs(place.dy) < 30
    assert not place.leader
