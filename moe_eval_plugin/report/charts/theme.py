"""Vega-Lite theme: light, dark and print colours.

On the page each colour is a CSS variable, so the charts follow the reader's choice of light or dark
without being drawn again. PNG and SVG files get the light colours themselves.
"""

from __future__ import annotations

from typing import Any

# Light and dark. The series colours can be distinguished with any
# kind of colour vision (after Okabe and Ito 2008), and have 3:1 or more against their background.
COLOURS = {
    "background": ("#ffffff", "#14171c"),
    "surface": ("#f5f6f8", "#1d2127"),
    "ink": ("#1a1d21", "#e9ecef"),
    "muted": ("#565d66", "#a9b1bb"),
    "grid": ("#dfe3e8", "#343a43"),
    "series-1": ("#0067a8", "#58b4ec"),
    "series-2": ("#b84a00", "#f08c45"),
    "series-3": ("#007a5a", "#2fc39b"),
    "series-4": ("#a3397c", "#e28ac0"),
    "series-5": ("#846600", "#e0c13c"),
    "series-6": ("#5b5bb5", "#a6a6f2"),
    "series-7": ("#6b6f76", "#b4bac3"),
    "series-8": ("#7a4a2b", "#cfa07c"),
    "good": ("#007a5a", "#2fc39b"),
    "bad": ("#b3261e", "#ff8a80"),
}
N_SERIES_COLOURS = 8
FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
LIGHT, DARK = 0, 1


def css_variables(which: int) -> str:
    """Return the colours as CSS variables; ``which`` is ``LIGHT`` or ``DARK``."""
    return "\n".join(f"  --{name}: {pair[which]};" for name, pair in COLOURS.items())


def page_config() -> dict[str, Any]:
    """Return the configuration for the page, where colours are CSS variables."""
    return _config({name: f"var(--{name})" for name in COLOURS})


def paper_config() -> dict[str, Any]:
    """Return the configuration for files, in the light colours."""
    return _config({name: pair[LIGHT] for name, pair in COLOURS.items()})


def _config(colour: dict[str, str]) -> dict[str, Any]:
    """Return the configuration with these colours; charts refer to its styles by name."""
    series = [colour[f"series-{number + 1}"] for number in range(N_SERIES_COLOURS)]
    text = {"labelColor": colour["muted"], "titleColor": colour["ink"], "labelFontSize": 12}
    return {
        "background": colour["background"],
        "font": FONT,
        "view": {"stroke": None},
        "range": {"category": series},
        "axis": {
            **text,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "gridColor": colour["grid"],
            "domainColor": colour["muted"],
            "tickColor": colour["muted"],
            "titlePadding": 8,
        },
        "legend": {
            **text,
            "orient": "bottom",
            "direction": "horizontal",
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "labelLimit": 260,
            "columns": 2,
            "symbolStrokeWidth": 2,
        },
        "title": {"anchor": "start", "color": colour["ink"], "fontSize": 14},
        "text": {"fill": colour["ink"], "fontSize": 12},
        "mark": {"color": series[0]},
        "style": {**_styles(colour, series[0]), **_main_chart_styles(colour)},
    }


def _styles(colour: dict[str, str], main: str) -> dict[str, Any]:
    """Return the named styles; ``main`` is the colour of a single series."""
    return {
        "rim": {
            "fill": colour["background"],
            "stroke": colour["background"],
            "strokeWidth": 4,
            "strokeJoin": "round",
            "fontSize": 12,
        },
        "label": {"fill": colour["ink"], "fontSize": 12},
        "reference": {"color": colour["muted"], "strokeDash": [4, 4], "strokeWidth": 1},
        "interval": {"strokeWidth": 1.5},
        "curve": {"strokeWidth": 2},
        # A line to follow one series by eye, where what is between two points is not known.
        "guide": {"strokeWidth": 1, "opacity": 0.55},
        "slower": {"color": colour["bad"], "opacity": 0.09},
        "ceiling": {"strokeWidth": 1.5, "strokeDash": [5, 4]},
        "single": {"stroke": main, "strokeWidth": 2},
        "heat": {"color": main, "stroke": colour["grid"], "strokeWidth": 1},
        "in-heat": {"fill": colour["ink"], "fontSize": 11},
        "cell-border": {"stroke": colour["background"], "strokeWidth": 1},
    }


def _main_chart_styles(colour: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the styles of the chart of what each k costs and gains."""
    return {
        "band": {"color": colour["good"], "fillOpacity": 0.1},
        "band-edge": {"color": colour["good"], "strokeDash": [4, 3], "strokeOpacity": 0.6},
        "band-label": {"color": colour["good"], "fontSize": 12},
        "baseline": {"color": colour["ink"]},
        "both-intervals": {"color": colour["series-1"], "strokeWidth": 1.5},
        "recommended": {"color": colour["good"], "strokeWidth": 2},
        "leader": {"color": colour["muted"], "strokeWidth": 1},
        "off-scale": {"color": colour["bad"], "fontSize": 12},
    }
