"""The logits of a converted model at each k, with k set, observed and verified as in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.engines.transformers.loading import load_model
from moe_eval_plugin.engines.transformers.model_at_k import ModelAtK
from moe_eval_plugin.engines.transformers.options import EngineOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor


def logits_at(folder: Path, token_ids: Tensor, ks: Iterable[int]) -> dict[int, Tensor]:
    """Return the logits (texts, tokens, vocabulary) at each k; for none, those of the model, at 0.

    Raises ``OverrideNotEffectiveError`` if tokens use another number of experts.
    """
    options = EngineOptions(pretrained=str(folder))
    config = ModelConfig.load(options)
    model = load_model(options, str(folder), config.config)
    at_k = ModelAtK(model, config.request(None), str(folder))
    found: dict[int, Tensor] = {}

    def answer(k: int) -> None:
        found[k] = model(input_ids=token_ids).logits

    for k in ks:
        at_k.set(config.request(str(k)))
        verified = at_k.verify(lambda k=k: answer(k), len(token_ids))  # type: ignore[misc]
        assert verified.observed == k
    if not found:
        with torch.no_grad():
            answer(0)
    return found


def differences(found: Mapping[int, Tensor], expected: Mapping[int, Tensor]) -> dict[int, float]:
    """Return the largest difference of a logit at each k."""
    assert found.keys() == expected.keys()
    return {k: float((found[k].float() - expected[k].float()).abs().max()) for k in found}
