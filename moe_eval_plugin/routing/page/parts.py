"""Parts of the page: sections with text, charts, maps and tables; what is shown layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.text import HUNDRED, formatted

if TYPE_CHECKING:
    from moe_eval_plugin.report.charts.base import Figure
    from moe_eval_plugin.routing.page.heat_map import HeatMap
    from moe_eval_plugin.stats.resampling import Interval

UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Heading:
    """Heading of a column."""

    text: str
    meaning: str = ""
    is_number: bool = True


@dataclass(frozen=True)
class TableCell:
    """One cell: the value it is sorted by, and what it shows."""

    value: float | int | str | None
    text: str
    shade: float | None = None
    """How strong its colour is, from 0 to 1; ``None`` for no colour."""


@dataclass(frozen=True)
class PageTable:
    """A table; the first column has the names of the rows."""

    id: str
    caption: str
    columns: tuple[Heading, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    summary: str | None = None
    """Line that unfolds the table; ``None`` for one that is always shown."""


@dataclass(frozen=True)
class LayerPanel:
    """What a section shows of one layer; the page shows one layer at a time."""

    layer: str
    """Name of the layer, as its selector shows it."""
    text: tuple[str, ...] = ()
    maps: tuple[HeatMap, ...] = ()
    tables: tuple[PageTable, ...] = ()


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    id: str
    title: str
    link: str
    """Title in the list of sections."""
    text: tuple[str, ...] = ()
    """Paragraphs: what was found, and how to read it."""
    figures: tuple[Figure, ...] = ()
    maps: tuple[HeatMap, ...] = ()
    tables: tuple[PageTable, ...] = ()
    panels: tuple[LayerPanel, ...] = ()

    @property
    def all_maps(self) -> tuple[HeatMap, ...]:
        """The maps of the section, and those of its layers."""
        return (*self.maps, *(one for panel in self.panels for one in panel.maps))


def percent(share: float) -> str:
    """Return a share as percent, with one digit below 10% and above 99%: ``78%``, ``9.2%``."""
    value = share * HUNDRED
    is_exact = value in (0, HUNDRED)
    has_digit = not is_exact and not 9.95 <= value < 99  # noqa: PLR2004  (rounded to 10.0)
    return f"{formatted(value, '.1f' if has_digit else '.0f')}%"


def percent_exact(share: float) -> str:
    """Return a share as percent with one digit: ``78.3%``."""
    return f"{formatted(share * HUNDRED, '.1f')}%"


def interval_text(interval: Interval | None) -> str:
    """Return an interval of shares: ``77.9% to 78.8%``; a dash where there is none."""
    if interval is None:
        return UNKNOWN
    return f"{percent_exact(interval.low)} to {percent_exact(interval.high)}"


def confidence_text(interval: Interval) -> str:
    """Return ``95% interval 77.9% to 78.8%``."""
    return f"{percent(interval.confidence)} interval {interval_text(interval)}"


def name_cell(name: str, order: float | None = None) -> TableCell:
    """Return the cell that names a row; ``order`` is what it is sorted by instead."""
    return TableCell(name if order is None else order, name)


def share_cell(share: float | None, top: float | None = None) -> TableCell:
    """Return a share as percent; with ``top`` shaded, fully from that share on."""
    if share is None:
        return TableCell(None, UNKNOWN)
    shade = None if top is None else max(0.0, min(1.0, share / top)) if top else 0.0
    return TableCell(share, percent_exact(share), shade)


def number_cell(
    value: float | None, form: str = ".3f", top: float | None = None, unit: str = ""
) -> TableCell:
    """Return a number in a format with its unit; with ``top`` shaded, fully from that on."""
    if value is None:
        return TableCell(None, UNKNOWN)
    shade = None if top is None else max(0.0, min(1.0, value / top)) if top else 0.0
    return TableCell(value, f"{formatted(value, form)}{unit}", shade)
