"""The observed k by layer of each setting, and by modality or phase where these differ."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.report.tables.column import Cell, Column, number_text
from moe_eval_plugin.report.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moe_eval_plugin.experts.layer_summary import LayerSummary
    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics

TEXT, IMAGE = "text", "image"
PREFILL_TEXT, DECODE_TEXT = "prefill text", "decode text"
ALL = "all"
# Means of the same k may differ in their last digits.
EQUAL_WITHIN = 1e-6


@dataclass(frozen=True)
class LayerRow:
    """The observed k of some tokens of a setting, layer by layer."""

    setting: str
    """Label of the setting."""
    tokens: str
    """Which tokens: ``all``, ``text``, ``image``, ``prefill text`` or ``decode text``."""
    k: tuple[float | None, ...]
    """Mean observed k of each MoE layer; ``None`` where none of them was observed."""

    @property
    def name(self) -> str:
        """The setting, and the tokens where they are not all."""
        return self.setting if self.tokens == ALL else f"{self.setting}, {self.tokens}"

    @property
    def mean(self) -> float | None:
        """Mean over layers, each of which counts as much."""
        known = [k for k in self.k if k is not None]
        return fmean(known) if known else None


def layer_rows(numbers: SeriesStatistics) -> list[LayerRow]:
    """List the observed k of all settings; none where it was not observed layer by layer."""
    return [row for one in numbers.points for row in _rows(one)]


def layer_paths(numbers: SeriesStatistics) -> list[str]:
    """List the module paths of the layers, of the setting that has most."""
    return max(([layer.path for layer in _layers(one)] for one in numbers.points), key=len)


def make_layer_table(rows: Sequence[LayerRow], names: Sequence[str]) -> Table:
    """Return a table with a column for each layer, whose names are given."""
    columns = (
        _column("setting", "Setting", "The setting"),
        _column("tokens", "Tokens", "Which tokens: all, or those of a modality or phase"),
        _column("mean", "Mean", "Mean over layers"),
        *(_column(f"layer_{name}", name, f"Mean observed k in layer {name}") for name in names),
    )
    kept = [True, len({row.tokens for row in rows}) > 1, *[True] * (len(names) + 1)]
    cells = [
        (Cell(row.setting, row.setting), Cell(row.tokens, row.tokens), *map(_number, _values(row)))
        for row in rows
    ]
    return Table(
        tuple(column for column, keep in zip(columns, kept, strict=True) if keep),
        tuple(tuple(cell for cell, keep in zip(row, kept, strict=True) if keep) for row in cells),
    )


def _values(row: LayerRow) -> list[float | None]:
    return [row.mean, *row.k]


def _number(value: float | None) -> Cell:
    if value is None:
        return Cell(None, "")
    return Cell(value, f"{value:.0f}" if value == round(value) else number_text(value, 2))


def _rows(one: PointStatistics) -> Iterator[LayerRow]:
    layers = _layers(one)
    if not layers:
        return
    label = one.point.label
    by_tokens = {name: _of(layers, name) for name in (TEXT, IMAGE, PREFILL_TEXT, DECODE_TEXT)}
    for name in _shown(by_tokens, is_policy=one.point.kind is SettingKind.POLICY):
        k = by_tokens.get(name) or tuple(layer.observed_num_experts_per_tok for layer in layers)
        yield LayerRow(label, name, k)


def _shown(by_tokens: Mapping[str, tuple[float | None, ...]], *, is_policy: bool) -> list[str]:
    """Return which tokens have a row of their own: those whose k differs.

    A policy has a row for each modality: the phases of a text differ by chance alone.
    """
    of_phases = _differ(by_tokens[PREFILL_TEXT], by_tokens[DECODE_TEXT]) and not is_policy
    text = [PREFILL_TEXT, DECODE_TEXT] if of_phases else [TEXT]
    if _differ(by_tokens[text[0]], by_tokens[IMAGE]):
        return [*text, IMAGE]
    return [ALL] if not of_phases else text


def _differ(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    return any(
        a is not None and b is not None and abs(a - b) > EQUAL_WITHIN
        for a, b in zip(one, other, strict=True)
    )


def _of(layers: Sequence[LayerSummary], tokens: str) -> tuple[float | None, ...]:
    return tuple(layer.observed_by_tokens.get(tokens) for layer in layers)


def _layers(one: PointStatistics) -> tuple[LayerSummary, ...]:
    record = one.point.first.record
    return record.experts.layers if record and record.experts else ()


def _column(key: str, heading: str, meaning: str) -> Column:
    # Its rows are tokens of a setting: no value is read from a setting alone.
    return Column(key, heading, meaning, lambda _, __: None)
