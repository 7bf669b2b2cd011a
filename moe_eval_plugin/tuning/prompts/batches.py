"""Put encoded prompts and the tokens of their answers together, for one pass of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationMixin

from moe_eval_plugin.engines.transformers.encoding import appended
from moe_eval_plugin.engines.transformers.shared.prefix import own_positions
from moe_eval_plugin.models.releases.names import forward_arguments
from moe_eval_plugin.tuning.calibration import PromptBatch

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from torch import nn

POSITIONS = "_prepare_position_ids_for_generation"
NO_TOKEN = -1


@dataclass(frozen=True)
class Prompt:
    """A prompt of a question, before it is encoded together with others."""

    question: int
    """The host's number of the question."""
    n_tokens: int
    """Tokens of the prompt, image tokens included."""
    group: Hashable
    """Equal for prompts that may be in one batch."""
    source: Any
    """What the host encodes."""


def in_batches(prompts: Sequence[Prompt], size: int) -> Iterator[list[Prompt]]:
    """Yield prompts of similar length together, ``size`` at most, the longest ones first."""
    groups: dict[Hashable, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.group, []).append(prompt)
    for group in groups.values():
        ordered = sorted(group, key=lambda one: one.n_tokens, reverse=True)
        for begin in range(0, len(ordered), size):
            yield ordered[begin : begin + size]


def prompt_batch(
    model: nn.Module,
    inputs: Mapping[str, Any],
    answers: Sequence[Sequence[int]],
    questions: Sequence[int] = (),
) -> PromptBatch:
    """Return prompts with their answers behind them; no answer is empty.

    ``inputs`` are those of the prompts alone, padded on the left, on any device.
    """
    given = {name: _on_cpu(value) for name, value in inputs.items()}
    n_prompt = given["input_ids"].shape[1]
    rows = [torch.tensor(one, dtype=torch.long) for one in answers]
    answer_ids = pad_sequence(rows, batch_first=True, padding_value=NO_TOKEN)
    # The last token of each answer is predicted alone. What fills the places behind the others
    # must be no token of an image.
    is_put = (answer_ids[:, 1:] != NO_TOKEN).long()
    put = torch.where(is_put == 1, answer_ids[:, :-1], answer_ids[:, :1])
    longer = appended(given, put, is_put)
    if _takes_counted_positions(type(model)):
        longer["position_ids"] = own_positions(model, longer)
    return PromptBatch(longer, n_prompt, answer_ids, tuple(questions))


def _takes_counted_positions(of: type) -> bool:
    """Whether ``generate`` passes a model the number of each token, without those of padding.

    Other models compute positions themselves, from the grids of images.
    """
    own = getattr(of, POSITIONS, None)
    is_common = own is not None and own is getattr(GenerationMixin, POSITIONS, None)
    return is_common and "position_ids" in set(forward_arguments(of))


def _on_cpu(value: Any) -> Any:  # noqa: ANN401  (a tensor, or what a processor adds)
    return value.cpu() if isinstance(value, torch.Tensor) else value
