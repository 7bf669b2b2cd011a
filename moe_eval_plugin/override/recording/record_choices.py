"""Record the experts that each token used, and the scores by which its router chose them.

The choices are those of the experts' calls, as ``observe`` counts them. All that is recorded is
moved to the CPU as it is seen, so that forward passes wait: record in a pass that is not timed.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from moe_eval_plugin.errors import MeasurementError
from moe_eval_plugin.experts.tokens import IMAGE, PADDING, PHASES
from moe_eval_plugin.models.moe_layers import find_moe_layers
from moe_eval_plugin.override.forward_pass import ROWS_BY_TOKENS, track_forward_passes
from moe_eval_plugin.override.observe import read_choices
from moe_eval_plugin.override.recording.layer_recorder import LayerRecorder
from moe_eval_plugin.override.recording.recorded import RecordedChoices, RecordedTokens
from moe_eval_plugin.override.recording.score_watch import ScoreWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from torch import Tensor, nn

    from moe_eval_plugin.models.moe_layers import Call, MoELayer
    from moe_eval_plugin.override.forward_pass import ForwardPass
    from moe_eval_plugin.override.recording.recorded import RowLabel

logger = logging.getLogger(__name__)
UNKNOWN_TOKEN = -1
# Where the weights are no argument of the experts, by the class of the layer.
WEIGHTS: dict[str, Callable[[Call], Tensor]] = {
    "Llama4TextMoe": lambda call: call.output[0],  # the router returns scores and logits
}
COLUMNS = {
    "token_id": np.int32,
    "task": np.int16,
    "modality": np.int8,
    "phase": np.int8,
    "question": np.int32,
    "position": np.int32,
    "sequence": np.int32,
}


@contextmanager
def record_choices(
    model: nn.Module, *, max_tokens: int | None = None, end_ids: Collection[int] = ()
) -> Iterator[ChoiceRecorder]:
    """Record the choices of every MoE layer while the block runs, then remove all hooks.

    The yielded recorder records the forward passes inside its ``labelled`` blocks only. A pass that
    begins once ``max_tokens`` tokens are recorded is not recorded. ``end_ids`` are the tokens that
    end an answer: from them on, what a row of a batch generates is not recorded.

    Raises ``MeasurementError`` where ``observe`` does.

    Example::

        with record_choices(model) as recorder:
            with recorder.labelled([RowLabel(task=0, question=0, sequence=0)]):
                model(input_ids=torch.tensor([[3, 4, 5]]))
        recorder.result().layers[0].experts  # (3, k + 1)
    """
    layers = list(find_moe_layers(model))
    widths = {(one.num_experts or 0) + (one.num_zero_experts or 0) for one in layers}
    recorder = ChoiceRecorder(layers, ScoreWatch(widths), max_tokens, end_ids)
    with ExitStack() as hooks:
        paths = [layer.path for layer in layers]
        forward_pass = hooks.enter_context(track_forward_passes(model, paths, recorder.begin))
        for layer in layers:
            add = partial(recorder.add, layer)
            hooks.enter_context(read_choices(layer, forward_pass, add))
        yield recorder


class ChoiceRecorder:
    """Recorder of the labelled forward passes of a model."""

    def __init__(
        self,
        layers: Sequence[MoELayer],
        watch: ScoreWatch,
        max_tokens: int | None,
        end_ids: Collection[int],
    ) -> None:
        self._layers = layers
        self._watch = watch
        self._max_tokens = max_tokens
        self._end_ids = torch.tensor(sorted(end_ids), dtype=torch.long)
        self._labels: Sequence[RowLabel] = ()
        self._columns: dict[str, list[Tensor]] = {name: [] for name in COLUMNS}
        self._runs: dict[tuple[str, int], LayerRecorder] = {}
        self._unassigned: set[str] = set()
        self.n_tokens = 0

    @property
    def is_full(self) -> bool:
        """Whether ``max_tokens`` are recorded."""
        return self._max_tokens is not None and self.n_tokens >= self._max_tokens

    @contextmanager
    def labelled(self, labels: Sequence[RowLabel]) -> Iterator[None]:
        """Record the forward passes of the block, whose batches have these rows."""
        self._labels = labels
        self._n_seen = torch.zeros(len(labels), dtype=torch.long)
        self._has_ended = torch.zeros(len(labels), dtype=torch.bool)
        try:
            with self._watch.watching():
                yield
        finally:
            self._labels = ()
            self._watch.forget()

    def result(self) -> RecordedChoices:
        """Return all that was recorded, in the order of the calls."""
        tokens = {
            name: torch.cat(parts).numpy().astype(COLUMNS[name])
            if parts
            else np.zeros(0, COLUMNS[name])
            for name, parts in self._columns.items()
        }
        order = {layer.path: position for position, layer in enumerate(self._layers)}
        runs = sorted(self._runs.items(), key=lambda one: (order[one[0][0]], one[0][1]))
        layers = (recorder.result(self.n_tokens) for _, recorder in runs)
        return RecordedChoices(RecordedTokens(**tokens), tuple(one for one in layers if one))

    def begin(self, forward_pass: ForwardPass) -> None:
        """Record the tokens of a forward pass that begins, if it is to be recorded."""
        tokens, kinds = forward_pass.tokens, forward_pass.token_kinds
        is_recorded = bool(self._labels) and not self.is_full
        forward_pass.is_counted = is_recorded and tokens is not None and kinds is not None
        if not forward_pass.is_counted or tokens is None or kinds is None:
            return
        self._watch.forget()
        self._n_runs: Counter[str] = Counter()
        if len(tokens) != len(self._labels):
            message = (
                f"A forward pass has {len(tokens)} rows, and {len(self._labels)} were announced: "
                "the tokens cannot be assigned to questions."
            )
            raise MeasurementError(message)
        token_ids = _token_ids(tokens)
        positions = self._positions(forward_pass, token_ids.shape)
        kinds = kinds.cpu().reshape(token_ids.shape)
        n_known = torch.tensor([label.n_known for label in self._labels])
        is_kept = (kinds != PADDING) & (positions >= n_known[:, None])
        if forward_pass.phase == "decode":
            self._has_ended |= torch.isin(token_ids, self._end_ids).any(-1)
            is_kept &= ~self._has_ended[:, None]
        self._kinds, kept = kinds.flatten(), is_kept.flatten()
        # The row of each token of this pass among all that are recorded, -1 for none.
        self._row_of_token = torch.where(kept, self.n_tokens + kept.cumsum(-1) - 1, -1)
        self.n_tokens += int(kept.sum())
        phase = PHASES.index(forward_pass.phase)
        columns = {
            "token_id": token_ids,
            "modality": kinds,
            "phase": torch.full_like(token_ids, phase),
            "position": positions,
            **{
                name: _column(self._labels, name, token_ids)
                for name in ("task", "question", "sequence")
            },
        }
        for name, column in columns.items():
            self._columns[name].append(column.flatten()[kept])

    def add(self, layer: MoELayer, chosen: Tensor, call: Call | None) -> None:
        """Record a choice of a layer, (rows, width), in the forward pass that runs."""
        token_of_row = self._tokens_of_rows(layer, len(chosen))
        if token_of_row is None:
            if layer.path not in self._unassigned:
                logger.warning(
                    "%s is called with %d rows for %d tokens, so its rows cannot be assigned to "
                    "tokens. It is not recorded.",
                    *(layer.path, len(chosen), self._kinds.numel()),
                )
            self._unassigned.add(layer.path)
            return
        run = self._n_runs[layer.path]
        self._n_runs[layer.path] += 1
        weights = None if call is None else _weights(layer, call, chosen)
        n_choices = (layer.num_experts or 0) + (layer.num_zero_experts or 0)
        distinct, weights = _distinct(chosen, weights, n_choices)
        found = self._watch.scores_of(distinct, weights)
        self._watch.forget()
        rows = self._row_of_token[token_of_row]
        kept = (rows >= 0).nonzero()[:, 0]
        recorder = self._runs.setdefault((layer.path, run), LayerRecorder(layer, run))
        recorder.add(distinct, weights, found, kept, rows[kept])

    def _tokens_of_rows(self, layer: MoELayer, n_rows: int) -> Tensor | None:
        """Return the token of each row of a layer, (rows,), of those of the pass."""
        if n_rows == self._kinds.numel():
            return torch.arange(n_rows)
        if layer.modality is None:
            return None
        # The router of one modality is called with the tokens of this modality alone.
        is_own = (self._kinds == IMAGE) == (layer.modality == "image")
        own = is_own.nonzero()[:, 0]
        return own if len(own) == n_rows else None

    def _positions(self, forward_pass: ForwardPass, shape: torch.Size) -> Tensor:
        """Return the position of each new token within its text, (rows, tokens)."""
        mask, n_new = forward_pass.mask, shape[1]
        if isinstance(mask, torch.Tensor) and mask.dim() == ROWS_BY_TOKENS:
            # An earlier token counts even if it is computed in another pass.
            return (mask.cpu() != 0).long().cumsum(-1)[:, -n_new:] - 1
        if forward_pass.phase == "prefill":
            self._n_seen = torch.zeros_like(self._n_seen)
        positions = self._n_seen[:, None] + torch.arange(n_new)
        self._n_seen = self._n_seen + n_new
        return positions


def _token_ids(tokens: Tensor) -> Tensor:
    """Return the ids of a model's input tokens, (rows, tokens), on the CPU."""
    if tokens.is_floating_point():
        return torch.full(tokens.shape[:2], UNKNOWN_TOKEN)
    return tokens.cpu().long()


def _column(labels: Sequence[RowLabel], name: str, like: Tensor) -> Tensor:
    """Return a field of the labels for each token, (rows, tokens)."""
    values = torch.tensor([getattr(label, name) for label in labels])
    return values[:, None].expand_as(like)


def _weights(layer: MoELayer, call: Call, chosen: Tensor) -> Tensor | None:
    """Return the weights of the chosen experts, (rows, k), if the call that was read has some."""
    if layer.choice_reader.class_name in WEIGHTS:
        return WEIGHTS[layer.choice_reader.class_name](call)
    fitting = [
        value
        for value in call.arguments
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        if value.shape == chosen.shape
    ]
    # The hidden states come first and have the same shape if k is the hidden size.
    return fitting[-1] if fitting else None


def _distinct(
    chosen: Tensor, weights: Tensor | None, n_choices: int
) -> tuple[Tensor, Tensor | None]:
    """Return the distinct experts of each row, (rows, k), -1 for none at the end, and weights.

    k is the largest number of experts of a row.
    """
    chosen = chosen.long()
    ordered, order = chosen.sort(dim=-1, stable=True)
    is_repeated = torch.zeros_like(chosen, dtype=torch.bool)
    is_repeated.scatter_(-1, order[:, 1:], ordered[:, 1:] == ordered[:, :-1])
    is_expert = (chosen >= 0) & (chosen < n_choices) & ~is_repeated
    k = int(is_expert.sum(-1).max()) if len(chosen) else 0
    front = (~is_expert).long().argsort(dim=-1, stable=True)[:, :k]
    chosen = torch.where(is_expert, chosen, -1).gather(-1, front)
    return chosen, None if weights is None else weights.gather(-1, front)
