"""Inputs of a model, encoded from conversations with its chat template, and its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.engines.chat_template import bare_text, text_only
from moe_eval_plugin.models.releases.names import per_token_among

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor
    from transformers import BatchFeature

    from moe_eval_plugin.engines.chat_template import ChatTemplate
    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.engines.transformers.shared.layout import Layout


@dataclass(frozen=True)
class Encoded:
    """A batch of conversations as tensors on the CPU, padded on the left.

    ``n_input_tokens`` counts each conversation's tokens, image tokens included. With a ``layout``,
    ``tensors`` are those of the first conversation of each group alone. ``images`` identifies all
    images, where the image tower's outputs are kept.
    """

    tensors: BatchFeature
    n_input_tokens: tuple[int, ...]
    layout: Layout | None = None
    images: str | None = None


@dataclass(frozen=True)
class Scored:
    """A continuation that was scored, by one pass over the prompt and the continuation.

    ``log_probability`` is the sum of its tokens' natural logarithms; ``is_greedy`` is true if each
    token is the most likely one; ``n_input_tokens`` counts prompt and continuation. What was
    computed from NaN or infinity is not finite, and impossible.
    """

    log_probability: float
    is_greedy: bool
    n_input_tokens: int
    is_finite: bool = True


def encode(
    template: ChatTemplate, conversations: Sequence[Conversation], *, takes_images: bool
) -> Encoded:
    """Apply the chat template, tokenise and preprocess images; safe to run in a thread.

    The tokens are those of transformers' ``apply_chat_template``: a template contains its special
    tokens, so the tokenizer adds none. Without a template the prompt is the bare text, as the
    tokenizer encodes it, special tokens included.
    """
    if takes_images:
        tensors = _encode_with_images(template, conversations)
    else:
        tensors = _encode_text(template, [text_only(one) for one in conversations])
    counts = tensors["attention_mask"].sum(-1).tolist()
    return Encoded(tensors=tensors, n_input_tokens=tuple(counts))


def _encode_with_images(template: ChatTemplate, conversations: Sequence[Conversation]) -> Any:  # noqa: ANN401  (a BatchFeature)
    with template.refusing(conversations):
        return template.processor.apply_chat_template(
            list(conversations),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
            **template.arguments,
        )


def _encode_text(template: ChatTemplate, conversations: Sequence[Conversation]) -> Any:  # noqa: ANN401  (a BatchEncoding)
    tokenizer = template.processor
    if template.text is None:
        texts = [bare_text(conversation) for conversation in conversations]
        return tokenizer(texts, padding=True, return_tensors="pt")
    with template.refusing(conversations):
        return tokenizer.apply_chat_template(
            list(conversations),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
            **template.arguments,
        )


def appended(
    inputs: Mapping[str, Any], target_ids: Tensor, target_mask: Tensor | None = None
) -> dict[str, Any]:
    """Return the inputs of prompts with more tokens behind each (rows, tokens).

    ``target_mask`` is 1 for these tokens and 0 for the padding behind them, of any token; without
    it there is no padding.
    """
    longer = dict(inputs)
    mask = torch.ones_like(target_ids) if target_mask is None else target_mask
    for name in per_token_among(longer):
        filler = _continuation_of(name, longer[name], target_ids, mask)
        longer[name] = torch.cat([longer[name], filler], dim=1)
    return longer


def _continuation_of(name: str, prompt: Tensor, target_ids: Tensor, mask: Tensor) -> Tensor:
    """Return what follows the prompts in one of the model's per-token inputs."""
    if name == "input_ids":
        return target_ids
    following = mask if name == "attention_mask" else torch.zeros_like(target_ids)
    return following.to(prompt.dtype)
