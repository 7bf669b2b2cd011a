"""The parts of a model whose k is chosen one by one, and the schedule of a choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.schedules.compact import schedule_of_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from moe_eval_plugin.experts.schedules.schedule import ExpertSchedule
    from moe_eval_plugin.experts.schedules.tuning_record import By
    from moe_eval_plugin.experts.tokens import Modality, Phase

    # The k of each cell.
    Choice: TypeAlias = "Mapping[Cell, int]"
    Ks: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, order=True)
class Cell:
    """Tokens that share one k: those of a decoder layer, and of a modality or a phase of it.

    ``modality`` and ``phase`` are ``None`` where k does not differ by them.
    """

    layer: int
    modality: Modality | None = None
    phase: Phase | None = None

    def __str__(self) -> str:
        where = self.modality or self.phase
        return f"layer {self.layer}" + (f", {where}" if where else "")


def cells_of(layers: Sequence[int], by: By) -> list[Cell]:
    """List the cells of the decoder layers with experts, layer by layer."""
    if by == "modality":
        return [Cell(layer, modality=one) for layer in layers for one in ("text", "image")]
    if by == "phase":
        return [Cell(layer, phase=one) for layer in layers for one in ("prefill", "decode")]
    return [Cell(layer) for layer in layers]


def schedule_of(choice: Choice, baseline: int | None = None) -> ExpertSchedule:
    """Return a schedule of few rules that sets the k of each cell.

    ``baseline`` is the published k, by default the largest one of the choice.
    """
    table: dict[Any, int] = {}
    for cell, k in choice.items():
        kind = cell.modality or cell.phase
        table[cell.layer if kind is None else (cell.layer, kind)] = k
    return schedule_of_table(table, baseline or max(choice.values()))


def schedule_text(cells: Sequence[Cell], ks: Ks, baseline: int) -> str:
    """Return the schedule of the k of each cell, as ``experts_k`` takes it."""
    return schedule_of(dict(zip(cells, ks, strict=True)), baseline).text
