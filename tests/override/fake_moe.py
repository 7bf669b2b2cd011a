from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.override.observe import observe

if TYPE_CHECKING:
    from transformers import (
        PreTrainedModel,
    )

    from moe_eval_plugin.experts.observation import Observation


NUM_EXPERTS = 6


IMAGE = 50


class FakeMoE(torch.nn.Module):
    """Hands a prepared choice to its experts, as a router does."""

    class TinyExperts(torch.nn.Module):
        num_experts = NUM_EXPERTS

        def forward(self, hidden: torch.Tensor, _index: torch.Tensor) -> torch.Tensor:
            return hidden

    def __init__(self, block: str | None = None) -> None:
        super().__init__()
        self.experts_path = f"{block}.experts" if block else "experts"
        experts = {"experts": self.TinyExperts()}
        self.add_module(*({block: torch.nn.ModuleDict(experts)} if block else experts).popitem())
        self.config = type("Config", (), {"image_token_id": 9})()

    def forward(
        self, input_ids: torch.Tensor, choice: torch.Tensor, **_inputs: object
    ) -> torch.Tensor:
        experts = self.get_submodule(self.experts_path)
        return experts(torch.zeros(input_ids.numel(), 2), choice)


def ids(*tokens: int) -> torch.Tensor:
    return torch.tensor([tokens])


@torch.no_grad()
def generate(model: PreTrainedModel, **inputs: Any) -> Observation:
    with observe(model) as pending:
        # A model with random weights might answer with an image token.
        options = {"min_new_tokens": 3, "max_new_tokens": 3, "suppress_tokens": [IMAGE]}
        model.generate(**inputs, **options, do_sample=False)
    return pending.result()
