"""The counts of one MoE layer on the device of that layer, while tokens pass through it.

Every table has a fixed size and each call adds to it in place, so memory does not grow with the
tokens and the host is never made to wait: nothing here looks at a value before ``observation``.
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
    """The counts of a layer with E experts that compute and Z that do not.

    ``by_k`` and ``by_ffn_k`` are (phase, modality, k), k from 0 to E + Z. ``load`` has an entry
    per expert and a last one for "no expert". ``n_distinct``, ``smallest`` and ``largest`` are
    (phase,), of the distinct experts that a forward pass touched.
    """

    by_k: Tensor
    by_ffn_k: Tensor
    load: Tensor
    n_distinct: Tensor
    smallest: Tensor
    largest: Tensor


class LayerCounter:
    """Adds up what one layer's tokens chose. Give it every choice, then ask for ``observation``."""

    def __init__(self, layer: MoELayer) -> None:
        self.layer = layer
        self._num_experts = layer.num_experts or 0
        self._num_choices = self._num_experts + (layer.num_zero_experts or 0)
        self._n_steps = dict.fromkeys(PHASES, 0)
        self._tables: _Tables | None = None

    def add(self, chosen: Tensor, kinds: Tensor, phase: Phase) -> None:
        """Count one forward pass.

        ``chosen`` has the experts of each token, (tokens, width); an index that is no expert's,
        ``num_experts`` for instance, counts as no expert. ``kinds`` (tokens,) has indices of
        ``OBSERVED_MODALITIES``.
        """
        import torch

        ordered = chosen.long().sort(dim=-1).values
        is_new = torch.ones_like(ordered, dtype=torch.bool)
        is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        is_expert = is_new & (ordered >= 0) & (ordered < self._num_choices)
        is_counted = is_expert & (kinds != PADDING)[:, None]
        # The last entry takes what does not count, because leaving it out by a mask would wait.
        experts = torch.where(is_counted, ordered, self._num_choices).flatten()
        tables = self._tables = self._tables or self._empty(chosen)
        by_k, by_ffn_k = tables.by_k[PHASES.index(phase)], tables.by_ffn_k[PHASES.index(phase)]
        count(by_k, kinds * by_k.shape[-1] + is_expert.sum(-1))
        is_ffn = is_expert & (ordered < self._num_experts)
        count(by_ffn_k, kinds * by_k.shape[-1] + is_ffn.sum(-1))
        load = torch.zeros_like(tables.load)
        count(load, experts)
        tables.load.add_(load)
        self._add_step((load[: self._num_experts] > 0).sum(), tables, phase)

    def observation(self) -> LayerObservation:
        """Give the counts until now; this waits for the device."""
        tables = self._tables
        if tables is None:
            return LayerObservation(
                self.layer.num_experts, self.layer.num_zero_experts, self.layer.modality
            )
        return LayerObservation(
            num_experts=self.layer.num_experts,
            num_zero_experts=self.layer.num_zero_experts,
            modality=self.layer.modality,
            tokens=_token_counts(tables.by_k),
            ffn_tokens=_token_counts(tables.by_ffn_k),
            load=tuple(tables.load[:-1].tolist()),
            steps=self._step_counts(tables),
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
        at = PHASES.index(phase)
        self._n_steps[phase] += 1
        tables.n_distinct[at] += n_distinct
        tables.smallest[at].clamp_(max=n_distinct)
        tables.largest[at].clamp_(min=n_distinct)

    def _step_counts(self, tables: _Tables) -> tuple[StepCount, ...]:
        columns = (tables.n_distinct, tables.smallest, tables.largest)
        rows = zip(PHASES, *(column.tolist() for column in columns), strict=True)
        counts = (StepCount(phase, self._n_steps[phase], *row) for phase, *row in rows)
        return tuple(sorted(count for count in counts if count.n_steps))


def new_table(shape: tuple[int, ...], like: Tensor, value: int = 0) -> Tensor:
    """Make a table of counts on the device of a tensor.

    It can be added to in every mode: one that is made in inference mode could be nowhere else.
    """
    import torch

    with torch.inference_mode(mode=False):
        return torch.full(shape, value, dtype=torch.long, device=like.device)


def count(table: Tensor, positions: Tensor) -> None:
    """Add 1 to the flattened ``table`` at each position, in place.

    ``torch.bincount`` would do, but it waits for a GPU to learn the largest position.
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
