"""On-device counters of one MoE layer; no host synchronisation until ``observation()``.

Every table has a fixed size and each call adds to it in place, so memory does not grow with the
tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.layer_observation import LayerObservation, StepCount, TokenCount
from moe_eval_plugin.experts.tokens import OBSERVED_MODALITIES, PADDING, PHASES, Phase

if TYPE_CHECKING:
    from torch import Tensor

    from moe_eval_plugin.models.moe_layers import MoELayer


@dataclass(frozen=True)
class _Tables:
    """The counts of a layer with E experts that compute and Z that do not."""

    by_k: Tensor
    """Tokens, (phase, modality, k), by the distinct experts that they chose: k is 0 to E + Z."""
    by_ffn_k: Tensor
    """The same, counting only the experts that compute."""
    load: Tensor
    """Text and image tokens of each expert, (E + Z + 1,); the last entry is "no expert"."""
    n_distinct: Tensor
    """Distinct experts touched by a forward pass, added up over passes, (phase,)."""
    smallest: Tensor
    """Fewest distinct experts touched by a forward pass, (phase,)."""
    largest: Tensor
    """Most distinct experts touched by a forward pass, (phase,)."""


class LayerCounter:
    """Counter of the experts that one layer's tokens choose: ``add`` each, then ``observation``."""

    def __init__(self, layer: MoELayer) -> None:
        self.layer = layer
        self._num_experts = layer.num_experts or 0
        self._num_choices = self._num_experts + (layer.num_zero_experts or 0)
        self._n_steps = dict.fromkeys(PHASES, 0)
        self._tables: _Tables | None = None

    def add(self, chosen: Tensor, token_kinds: Tensor, phase: Phase) -> None:
        """Count the tokens of one forward pass.

        ``chosen`` has the experts of each token, (tokens, width); an index outside the layer's
        experts, ``num_experts`` for instance, counts as no expert. ``token_kinds`` (tokens,) has
        indices of ``OBSERVED_MODALITIES``.
        """
        import torch

        ordered = chosen.long().sort(dim=-1).values
        is_new = torch.ones_like(ordered, dtype=torch.bool)
        is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        is_expert = is_new & (ordered >= 0) & (ordered < self._num_choices)
        is_counted = is_expert & (token_kinds != PADDING)[:, None]
        # The last entry counts all else: a mask that leaves it out would wait for the device.
        experts = torch.where(is_counted, ordered, self._num_choices).flatten()
        tables = self._tables = self._tables or self._empty(chosen)
        by_k, by_ffn_k = tables.by_k[PHASES.index(phase)], tables.by_ffn_k[PHASES.index(phase)]
        count(by_k, token_kinds * by_k.shape[-1] + is_expert.sum(-1))
        is_ffn = is_expert & (ordered < self._num_experts)
        count(by_ffn_k, token_kinds * by_k.shape[-1] + is_ffn.sum(-1))
        load = torch.zeros_like(tables.load)
        count(load, experts)
        tables.load.add_(load)
        self._add_step((load[: self._num_experts] > 0).sum(), tables, phase)

    def observation(self) -> LayerObservation:
        """Return the counts so far; this waits for the device."""
        tables = self._tables
        if tables is None:
            return LayerObservation(
                self.layer.num_experts,
                self.layer.num_zero_experts,
                self.layer.modality,
                zero_expert_kinds=self.layer.zero_expert_kinds,
            )
        return LayerObservation(
            num_experts=self.layer.num_experts,
            num_zero_experts=self.layer.num_zero_experts,
            modality=self.layer.modality,
            tokens=_token_counts(tables.by_k),
            ffn_tokens=_token_counts(tables.by_ffn_k),
            load=tuple(tables.load[:-1].tolist()),
            steps=self._step_counts(tables),
            zero_expert_kinds=self.layer.zero_expert_kinds,
        )

    def _empty(self, like: Tensor) -> _Tables:
        shape = (len(PHASES), len(OBSERVED_MODALITIES), self._num_choices + 1)
        return _Tables(
            by_k=new_table(shape, like),
            by_ffn_k=new_table(shape, like),
            load=new_table((self._num_choices + 1,), like),
            n_distinct=new_table((len(PHASES),), like),
            smallest=new_table((len(PHASES),), like, self._num_choices),
            largest=new_table((len(PHASES),), like),
        )

    def _add_step(self, n_distinct: Tensor, tables: _Tables, phase: Phase) -> None:
        row = PHASES.index(phase)
        self._n_steps[phase] += 1
        tables.n_distinct[row] += n_distinct
        tables.smallest[row].clamp_(max=n_distinct)
        tables.largest[row].clamp_(min=n_distinct)

    def _step_counts(self, tables: _Tables) -> tuple[StepCount, ...]:
        columns = (tables.n_distinct, tables.smallest, tables.largest)
        rows = zip(PHASES, *(column.tolist() for column in columns), strict=True)
        counts = (StepCount(phase, self._n_steps[phase], *row) for phase, *row in rows)
        return tuple(sorted(count for count in counts if count.n_steps))


def new_table(shape: tuple[int, ...], like: Tensor, value: int = 0) -> Tensor:
    """Build a table of integer counts on the device of ``like``, filled with ``value``.

    It can be added to in every mode; a tensor made in inference mode cannot be changed outside it.
    """
    import torch

    with torch.inference_mode(mode=False):
        return torch.full(shape, value, dtype=torch.long, device=like.device)


def count(table: Tensor, positions: Tensor) -> None:
    """Add 1 to the flattened ``table`` at each position, in place.

    ``torch.bincount`` would wait for the GPU to find the largest position.
    """
    import torch

    table.view(-1).scatter_add_(0, positions, torch.ones_like(positions))


def _token_counts(table: Tensor) -> tuple[TokenCount, ...]:
    values: list[Any] = table.tolist()
    return tuple(
        sorted(
            TokenCount(phase, modality, k, n)
            for phase, of_phase in zip(PHASES, values, strict=True)
            for modality, of_modality in zip(OBSERVED_MODALITIES, of_phase, strict=True)
            for k, n in enumerate(of_modality)
            if n
        )
    )
