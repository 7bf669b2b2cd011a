"""Which experts tokens really use: observed at the door of the experts, not read from settings.

While a model is watched, each choice of experts is counted on the device that made it: nothing
is copied to the host, so no forward pass waits, and memory does not grow with the tokens. Hooks
cost time all the same: observe in a pass of its own, never in one that is timed.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.observation import InputTokenCount, Observation
from moe_eval_plugin.experts.tokens import IMAGE, OBSERVED_MODALITIES, PHASES, TEXT
from moe_eval_plugin.models.moe_layers import DOORS, Call, find_moe_layers
from moe_eval_plugin.override.forward_pass import ForwardPass, track_forward_passes
from moe_eval_plugin.override.layer_counter import LayerCounter, count, new_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from moe_eval_plugin.models.moe_layers import ChoiceReader, MoELayer


@contextmanager
def observe(
    model: nn.Module, doors: Sequence[ChoiceReader] = DOORS
) -> Iterator[PendingObservation]:
    """Watch every MoE layer of a model while the block runs, then take all hooks off again.

    The object that is yielded gives the ``Observation`` during the block or afterwards. The
    model must be called as a module (``model(...)`` or ``generate``), so that its hooks run.
    Several observers may watch one model. Hooks run in the order in which they were set, so what
    changes a choice on its way to the experts must be in place before the observer. ``doors`` says
    where choices are read, for a model whose layers the table does not know.
    """
    fed = _InputTokenCounter()
    tallies = [LayerCounter(layer) for layer in find_moe_layers(model, doors)]
    with ExitStack() as hooks:
        paths = [tally.layer.path for tally in tallies]
        forward_pass = hooks.enter_context(track_forward_passes(model, paths, fed.add))
        for tally in tallies:
            if tally.layer.num_experts is not None:
                _watch_layer(tally, forward_pass, hooks)
        yield PendingObservation(fed, tallies)


@dataclass(frozen=True)
class PendingObservation:
    """What ``observe`` has seen so far."""

    _fed: _InputTokenCounter
    _tallies: Sequence[LayerCounter]

    def result(self) -> Observation:
        """Give the counts until now; this waits for the device."""
        layers = {tally.layer.path: tally.observation() for tally in self._tallies}
        return Observation(layers, self._fed.counts())


class _InputTokenCounter:
    """Counts the tokens that a model was given, (phase, modality), on their device."""

    def __init__(self) -> None:
        self._table: Tensor | None = None

    def add(self, forward_pass: ForwardPass) -> None:
        """Count the tokens of a forward pass that begins."""
        kinds = forward_pass.kinds
        if kinds is None:
            return
        if self._table is None:
            self._table = new_table((len(PHASES), len(OBSERVED_MODALITIES)), kinds)
        count(self._table[PHASES.index(forward_pass.phase)], kinds.to(self._table.device))

    def counts(self) -> tuple[InputTokenCount, ...]:
        """Give the counts until now; this waits for the device."""
        rows: list[list[int]] = [] if self._table is None else self._table.tolist()
        counts = (
            InputTokenCount(phase, modality, n)
            for phase, row in zip(PHASES, rows, strict=False)
            for modality, n in zip(OBSERVED_MODALITIES, row, strict=True)
        )
        return tuple(sorted(count for count in counts if count.n_tokens))


def _watch_layer(tally: LayerCounter, forward_pass: ForwardPass, hooks: ExitStack) -> None:
    layer = tally.layer

    def read(
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any = None,  # noqa: ANN401  (any output)
    ) -> None:
        chosen = layer.door.read(Call(module, (*args, *kwargs.values()), output))
        if chosen is not None and chosen.shape[0] > 0:
            kinds = _kinds_of_rows(chosen, layer, forward_pass.kinds)
            tally.add(chosen, kinds, forward_pass.phase)

    if layer.door.is_after:
        handle = layer.at.register_forward_hook(read, with_kwargs=True)
    else:
        handle = layer.at.register_forward_pre_hook(read, with_kwargs=True)
    hooks.callback(handle.remove)


def _kinds_of_rows(chosen: Tensor, layer: MoELayer, kinds: Tensor | None) -> Tensor:
    """Tell what each row that a layer was given is, as far as rows and tokens match."""
    import torch

    n_rows, device = chosen.shape[0], chosen.device
    own = IMAGE if layer.modality == "image" else TEXT
    if kinds is not None and kinds.numel() == n_rows:
        return kinds.to(device)
    if kinds is None or kinds.numel() < n_rows or layer.modality is None:
        return torch.full((n_rows,), own, device=device)
    # Picking rows by a mask would wait for their number, which the layer's input tells anyway.
    is_other = (kinds == IMAGE) != (own == IMAGE)
    return kinds[is_other.long().argsort(stable=True)[:n_rows]].to(device)
