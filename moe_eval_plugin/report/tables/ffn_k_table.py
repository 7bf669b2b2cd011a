"""The table of FFN k by layer, for models whose routers also choose experts without an FFN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.experts.ffn_use import FFN, KINDS, UNKNOWN_KIND
from moe_eval_plugin.report.tables.column import NOT_KNOWN, Cell, Column, number_text
from moe_eval_plugin.report.tables.table import Table
from moe_eval_plugin.text import HUNDRED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.experts.ffn_use import FFNUse
    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

ALL_LAYERS = "all"
OF_KIND = {
    FFN: ("FFN", "experts that compute an FFN"),
    **{kind: (kind, f"{kind} experts") for kind in KINDS},
    UNKNOWN_KIND: ("no FFN", "experts that compute no FFN"),
}


def make_ffn_k_table(numbers: SeriesStatistics) -> Table | None:
    """Return FFN k and the shares of the kinds of experts, by setting and layer.

    ``None`` where all experts of the model compute an FFN, or none was observed.
    """
    found = [(label, layer, use) for label, layer, use in _uses(numbers) if use]
    kinds = [kind for kind in OF_KIND if any(kind in use.shares for _, _, use in found)]
    if not found:
        return None
    rows = tuple(
        (Cell(label, label), Cell(layer, layer), *_numbers(use), *_shares(use, kinds))
        for label, layer, use in found
    )
    return Table((*COLUMNS, *(_share_column(kind) for kind in kinds)), rows)


def _uses(numbers: SeriesStatistics) -> Iterator[tuple[str, str, FFNUse | None]]:
    for one in numbers.points:
        record = one.point.first.record
        if record and record.experts:
            yield one.point.label, ALL_LAYERS, record.experts.ffn_use
            for layer in record.experts.layers:
                yield one.point.label, layer.path, layer.ffn_use


def _numbers(use: FFNUse) -> tuple[Cell, ...]:
    means = tuple(Cell(value, number_text(value, 2)) for value in (use.selected, use.mean))
    return (*means, *(Cell(value, str(value)) for value in (use.p10, use.p90)))


def _shares(use: FFNUse, kinds: list[str]) -> tuple[Cell, ...]:
    shares = [use.shares.get(kind) for kind in kinds]
    texts = (NOT_KNOWN if x is None else f"{number_text(x * HUNDRED, 1)}%" for x in shares)
    return tuple(map(Cell, shares, texts))


def _column(key: str, heading: str, meaning: str) -> Column:
    # Its rows are layers: no value is read from a setting.
    return Column(key, heading, meaning, lambda _, __: None)


def _share_column(kind: str) -> Column:
    heading, experts = OF_KIND[kind]
    return _column(f"share_{kind}", heading, f"Share of the selections that went to {experts}")


COLUMNS = (
    _column("setting", "Setting", "Requested k"),
    _column("layer", "Layer", "Path of the layer in the model"),
    _column("selected_k", "Selected k", "Experts that a token selected, on average"),
    _column("ffn_k", "FFN k", "Those of them that compute an FFN, on average"),
    _column("ffn_k_p10", "p10", "FFN k that a tenth of the tokens do not exceed"),
    _column("ffn_k_p90", "p90", "FFN k that nine tenths of the tokens do not exceed"),
)
