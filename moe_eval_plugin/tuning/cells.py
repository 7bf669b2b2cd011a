"""The parts of a model whose k is chosen one by one, and the schedule of a choice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.schedule import ExpertSchedule, ScheduleRule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from moe_eval_plugin.experts.schedules.tuning_record import By
    from moe_eval_plugin.experts.tokens import Modality, Phase

    # The k of each cell.
    Choice: TypeAlias = "Mapping[Cell, int]"


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


def schedule_of(choice: Choice) -> ExpertSchedule:
    """Return the schedule that sets the k of each cell, as rules of ``experts_k``.

    It begins with the k that most cells have; each further rule is for adjacent layers with
    experts that share another k.
    """
    counts = Counter(choice.values())
    most = max(counts, key=lambda k: (counts[k], k))
    rules = [ScheduleRule(most)]
    for modality, phase in dict.fromkeys((cell.modality, cell.phase) for cell in choice):
        of_kind = {
            cell.layer: k
            for cell, k in sorted(choice.items(), key=lambda one: one[0].layer)
            if (cell.modality, cell.phase) == (modality, phase)
        }
        for k, layers in groupby(of_kind, key=of_kind.__getitem__):
            numbers = list(layers)
            ends = None if len(numbers) == len(of_kind) else (numbers[0], numbers[-1])
            if k != most:
                rules.append(ScheduleRule(k, ends, modality, phase))
    return ExpertSchedule(tuple(rules))
