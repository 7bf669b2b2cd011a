"""Text and lines stand out from what lies behind them, in light and in dark."""

from __future__ import annotations

import pytest

from moe_eval_plugin.report.charts.theme import COLOURS, DARK, LIGHT

TEXT = ("ink", "muted", "good", "bad")
LEAST_OF_TEXT = 4.5
LEAST_OF_LINES = 3.0


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("behind", ["background", "surface"])
def test_text_can_be_read(scheme: int, behind: str) -> None:
    found = {name: contrast(COLOURS[name][scheme], COLOURS[behind][scheme]) for name in TEXT}

    assert {name: ratio for name, ratio in found.items() if ratio < LEAST_OF_TEXT} == {}


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_lines_and_points_can_be_seen(scheme: int) -> None:
    found = {
        name: contrast(pair[scheme], COLOURS["background"][scheme])
        for name, pair in COLOURS.items()
        if name.startswith("series-")
    }

    assert len(found) > 1
    assert {name: ratio for name, ratio in found.items() if ratio < LEAST_OF_LINES} == {}
