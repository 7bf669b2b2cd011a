from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.observe import Observation, observe
from moe_eval_plugin.testing import tiny_moe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule


TOKENS = torch.arange(2, 26).reshape(2, 12)


def build(model_type: str, k: int = 4) -> PreTrainedModel:
    changes: dict[str, Any] = {"num_experts_per_tok": k}
    if model_type in {"mixtral", "gpt_oss"}:
        changes["num_local_experts"] = 8
    return tiny_moe(model_type, **changes)


def resolve(model: PreTrainedModel, k: int) -> ResolvedSchedule:
    schedule = parse_experts_k(k)
    assert schedule is not None
    return schedule.resolve(describe(model.config))


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    return model(input_ids=TOKENS).logits


def observed(model: PreTrainedModel) -> Observation:
    with observe(model) as pending:
        logits(model)
    return pending.result()
