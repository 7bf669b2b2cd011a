"""Substitute for the remote code of MoE++: everything that concerns k, under the same names.

k is the constant ``MOE_TOP_K``, read by the gating function and by the layer, which multiplies its
input by it. Of N experts the last four compute no FFN: two constants, a copy, and a zero expert,
whose weight is taken away before the weights are divided by their sum. Experts are called one by
one with the rows routed to them.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PretrainedConfig

MOE_TOP_K = 2
N_FFN, N_OTHER = 6, 4
HIDDEN = 8


class MoeConfig(PretrainedConfig):  # type: ignore[misc]
    """Configuration with the number of experts by layer, and no k."""

    model_type = "MoE++"

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.num_experts = [N_FFN + N_OTHER] * 2


def gating(logits: torch.Tensor) -> dict[int, list[torch.Tensor]]:
    """Return the rows and weights of each expert."""
    weights, indices = torch.topk(logits.softmax(dim=1), k=MOE_TOP_K, dim=1)
    weights = weights.masked_fill(indices == logits.shape[1] - 1, 0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    chosen = {}
    for expert in range(logits.shape[1]):
        rows, columns = torch.nonzero(indices == expert, as_tuple=True)
        chosen[expert] = [rows, weights[rows, columns]]
    return chosen


class Router(nn.Module):
    """Chooses experts by a linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.wg = nn.Linear(HIDDEN, N_FFN + N_OTHER, bias=False)

    def forward(self, hidden: torch.Tensor) -> tuple[dict[int, list[torch.Tensor]], torch.Tensor]:
        """Return the choice and the logits."""
        logits = self.wg(hidden)
        return gating(logits), logits


class ConstantExpert(nn.Module):
    """Expert that returns the same for every token."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(HIDDEN))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the constant for each row."""
        return self.constant.expand_as(hidden)


class ZeroExpert(nn.Module):
    """Expert that returns zeros."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return zeros."""
        return torch.zeros_like(hidden)


class Experts(nn.Module):
    """Holds the list of experts, and is never called itself."""

    def __init__(self) -> None:
        super().__init__()
        ffn = [nn.Linear(HIDDEN, HIDDEN) for _ in range(N_FFN)]
        others = [ConstantExpert(), ConstantExpert(), nn.Identity(), ZeroExpert()]
        self.experts = nn.ModuleList([*ffn, *others])


class MOELayer(nn.Module):
    """Layer that calls each expert with its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Router()
        self.experts = Experts()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum of the experts' outputs, of an input multiplied by k."""
        chosen, _logits = self.gate(hidden)
        output, scaled = torch.zeros_like(hidden), hidden * MOE_TOP_K
        for expert, (rows, weights) in chosen.items():
            result = self.experts.experts[expert](scaled[rows])
            output.index_add_(0, rows, result * weights[:, None])
        return output


class MOE(nn.Module):
    """One block."""

    def __init__(self) -> None:
        super().__init__()
        self.num_experts = N_FFN + N_OTHER
        self.moe = MOELayer()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Run the layer."""
        output: torch.Tensor = self.moe(hidden)
        return output


class DecoderLayer(nn.Module):
    """One block under the name that it has in a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = MOE()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Add the block's output."""
        output: torch.Tensor = hidden + self.mlp(hidden)
        return output


class MoePlusPlus(nn.Module):
    """Two blocks after an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.config = MoeConfig()
        self.embed = nn.Embedding(32, HIDDEN)
        self.layers = nn.ModuleList([DecoderLayer(), DecoderLayer()])

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return hidden states (tokens, hidden)."""
        hidden: torch.Tensor = self.embed(input_ids).flatten(0, 1)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden
