"""Random tokens in the place of prompts, as LExI uses random inputs (arXiv:2509.02753)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.engines.refusals import check_length
from moe_eval_plugin.engines.request import PROMPTS_TO_VERIFY, VERIFICATION_NEW_TOKENS
from moe_eval_plugin.models.releases.names import image_token_ids
from moe_eval_plugin.tuning.calibration import CalibrationPrompts
from moe_eval_plugin.tuning.prompts.batches import prompt_batch
from moe_eval_plugin.tuning.prompts.greedy_answers import greedy_answers

if TYPE_CHECKING:
    from torch import Tensor

    from moe_eval_plugin.tuning.prompts.model import LoadedModel
    from moe_eval_plugin.tuning.prompts.request import CalibrationRequest


def verified_random_prompts(request: CalibrationRequest, model: LoadedModel) -> CalibrationPrompts:
    """Return rows of random tokens of the vocabulary, without special ones and those of images.

    The first token of a row is its prompt, and the others its answer, so that the loss is measured
    at each of them. k is observed on the first rows. Raises ``DataError`` for rows that are longer
    than the model takes, and ``OverrideNotEffectiveError`` where tokens use another k.
    """
    module = model.module
    check_length(module.config, request.n_random_tokens + VERIFICATION_NEW_TOKENS)
    free = _ordinary_tokens(module.config, model.tokenizer)
    generator = torch.Generator().manual_seed(request.seed)
    shape = (request.n_questions, request.n_random_tokens)
    rows = free[torch.randint(len(free), shape, generator=generator)]
    first = _inputs(rows[:PROMPTS_TO_VERIFY])
    model.at_k.verify(
        lambda: greedy_answers(module, model.tokenizer, first, VERIFICATION_NEW_TOKENS),
        len(first["input_ids"]),
    )
    parts = rows.split(request.batch_size)
    batches = [prompt_batch(module, _inputs(one[:, :1]), one[:, 1:].tolist()) for one in parts]
    return CalibrationPrompts(batches, ())


def _inputs(rows: Tensor) -> dict[str, Tensor]:
    return {"input_ids": rows, "attention_mask": torch.ones_like(rows)}


def _ordinary_tokens(config: Any, tokenizer: Any) -> Tensor:  # noqa: ANN401  (many classes)
    """Return the tokens of a vocabulary that stand for text."""
    added = {token for token, one in tokenizer.added_tokens_decoder.items() if one.special}
    others = {*added, *tokenizer.all_special_ids, *image_token_ids(config)}
    n_tokens = min(len(tokenizer), config.get_text_config().vocab_size)
    return torch.tensor([token for token in range(n_tokens) if token not in others])
