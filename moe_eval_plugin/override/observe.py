"""Count which experts tokens use, from the calls of the experts instead of from settings.

While a model is observed, each choice of experts is counted on the device that made it: nothing
is copied to the host, so no forward pass waits, and memory does not grow with the tokens. Hooks
cost time all the same: observe in a pass of its own, never in one that is timed.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.observation import InputTokenCount, Observation
from moe_eval_plugin.experts.tokens import IMAGE, OBSERVED_MODALITIES, PHASES, TEXT
from moe_eval_plugin.models.moe_layers import CHOICE_READERS, Call, find_moe_layers
from moe_eval_plugin.override.forward_pass import ForwardPass, track_forward_passes
from moe_eval_plugin.override.layer_counter import LayerCounter, count, new_table
from moe_eval_plugin.override.listed_experts import observe_listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from moe_eval_plugin.models.moe_layers import ChoiceReader, MoELayer


@contextmanager
def observe(
    model: nn.Module,
    choice_readers: Sequence[ChoiceReader] = CHOICE_READERS,
    is_counted: Callable[[ForwardPass], bool] = lambda _: True,
) -> Iterator[PendingObservation]:
    """Observe every MoE layer of a model while the block runs, then remove all hooks.

    The yielded object returns the ``Observation`` during the block or afterwards. The model must
    be called as a module (``model(...)`` or ``generate``), so that its hooks run. Several
    observers may observe one model. Hooks run in the order in which they were installed, so
    whatever changes a choice before the experts must be installed before the observer.
    ``choice_readers`` define where choices are read, for a model whose layers the table lacks.
    ``is_counted`` is called as each forward pass begins; one that it leaves out costs next to
    nothing.

    Raises ``MeasurementError`` where the names of the model's cache, tokens or images are unknown.
    """
    input_tokens = _InputTokenCounter()
    counters = [LayerCounter(layer) for layer in find_moe_layers(model, choice_readers)]

    def begin(forward_pass: ForwardPass) -> None:
        forward_pass.is_counted = is_counted(forward_pass)
        if forward_pass.is_counted:
            input_tokens.add(forward_pass)

    with ExitStack() as hooks:
        paths = [counter.layer.path for counter in counters]
        tracked = track_forward_passes(model, paths, begin)
        forward_pass = hooks.enter_context(tracked)
        for counter in counters:
            add = partial(_count, counter, forward_pass)
            hooks.enter_context(read_choices(counter.layer, forward_pass, add))
        yield PendingObservation(input_tokens, counters)


@dataclass(frozen=True)
class PendingObservation:
    """Everything that ``observe`` has counted so far."""

    _input_tokens: _InputTokenCounter
    _counters: Sequence[LayerCounter]

    def result(self) -> Observation:
        """Return the counts so far; this waits for the device."""
        layers = {counter.layer.path: counter.observation() for counter in self._counters}
        return Observation(layers, self._input_tokens.counts())


class _InputTokenCounter:
    """On-device counter of the tokens that a model is called with, (phase, modality)."""

    def __init__(self) -> None:
        self._table: Tensor | None = None

    def add(self, forward_pass: ForwardPass) -> None:
        """Count the tokens of a forward pass that begins."""
        import torch

        token_kinds = forward_pass.token_kinds
        if token_kinds is None:
            return
        if self._table is None:
            self._table = new_table((len(PHASES), len(OBSERVED_MODALITIES)), token_kinds)
        device, n_kinds = self._table.device, len(OBSERVED_MODALITIES)
        phases = torch.full_like(token_kinds, PHASES.index(forward_pass.phase))
        if forward_pass.is_answer is not None:
            phases = torch.where(forward_pass.is_answer, PHASES.index("decode"), phases)
        count(self._table, (phases * n_kinds + token_kinds).to(device))

    def counts(self) -> tuple[InputTokenCount, ...]:
        """Return the counts so far; this waits for the device."""
        rows: list[list[int]] = [] if self._table is None else self._table.tolist()
        counts = (
            InputTokenCount(phase, modality, n)
            for phase, row in zip(PHASES, rows, strict=False)
            for modality, n in zip(OBSERVED_MODALITIES, row, strict=True)
        )
        return tuple(sorted(count for count in counts if count.n_tokens))


@contextmanager
def read_choices(
    layer: MoELayer, forward_pass: ForwardPass, on_choice: Callable[[Tensor, Call | None], None]
) -> Iterator[None]:
    """Call ``on_choice`` with each choice of a layer in the counted passes, while the block runs.

    It gets the experts of each row, (rows, width), and the call that showed them; ``None`` for
    experts in a list, whose calls do not have the choice.
    """

    def read(
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any = None,  # noqa: ANN401  (any output)
    ) -> None:
        if not forward_pass.is_counted:
            return
        call = Call(module, (*args, *kwargs.values()), output)
        chosen = layer.choice_reader.read(call)
        if chosen is not None and chosen.shape[0] > 0:
            on_choice(chosen, call)

    def add(chosen: Tensor) -> None:
        if forward_pass.is_counted:
            on_choice(chosen, None)

    with ExitStack() as hooks:
        if layer.is_listed:
            hooks.enter_context(observe_listed(layer, add))
        elif layer.num_experts is not None and layer.choice_reader.reads_output:
            handle = layer.observed_module.register_forward_hook(read, with_kwargs=True)
            hooks.callback(handle.remove)
        elif layer.num_experts is not None:
            handle = layer.observed_module.register_forward_pre_hook(read, with_kwargs=True)
            hooks.callback(handle.remove)
        yield


def _count(
    counter: LayerCounter, forward_pass: ForwardPass, chosen: Tensor, _call: Call | None
) -> None:
    """Count the experts of each token of one call of a layer, (tokens, width)."""
    import torch

    tokens = forward_pass.tokens_of_rows(chosen, counter.layer.modality)
    if tokens is None or forward_pass.token_kinds is None:
        own = IMAGE if counter.layer.modality == "image" else TEXT
        kinds = torch.full((len(chosen),), own, device=chosen.device)
        counter.add(chosen, kinds, forward_pass.phase)
        return
    kinds = forward_pass.token_kinds.to(chosen.device)[tokens]
    if forward_pass.is_answer is None:
        counter.add(chosen, kinds, forward_pass.phase)
        return
    is_answer = forward_pass.is_answer.to(chosen.device)[tokens]
    for phase, rows in zip(PHASES, (~is_answer, is_answer), strict=True):
        if len(of_phase := chosen[rows]):
            counter.add(of_phase, kinds[rows], phase)
