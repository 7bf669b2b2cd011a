"""A tiny model of its own family: one MoE layer, with names that no other family uses."""

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel


class PickyConfig(PretrainedConfig):
    """``picks`` of the ``choices`` experts answer for a token."""

    model_type = "picky_moe"

    def __init__(
        self, choices: int = 12, picks: int = 5, width: int = 16, **others: object
    ) -> None:
        super().__init__(**others)
        self.choices = choices
        self.picks = picks
        self.width = width


class PickyRouter(nn.Module):
    """Chooses experts by softmax, and divides their weights by their sum."""

    def __init__(self, config: PickyConfig) -> None:
        super().__init__()
        self.picks = config.picks
        self.weight = nn.Parameter(torch.randn(config.choices, config.width))

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return indices and weights, both (tokens, picks)."""
        weights, index = (hidden @ self.weight.T).softmax(-1).topk(self.picks, dim=-1)
        return index, weights / weights.sum(-1, keepdim=True)


class PickyExperts(nn.Module):
    """One matrix per expert."""

    def __init__(self, config: PickyConfig) -> None:
        super().__init__()
        self.num_experts = config.choices
        self.weight = nn.Parameter(torch.randn(config.choices, config.width, config.width))

    def forward(self, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sum of the chosen experts' outputs, (tokens, width)."""
        made = torch.einsum("tw,tkwv->tkv", hidden, self.weight[index])
        return (made * weights[..., None]).sum(1)


class PickyBlock(nn.Module):
    """A router and its experts."""

    def __init__(self, config: PickyConfig) -> None:
        super().__init__()
        self.router = PickyRouter(config)
        self.experts = PickyExperts(config)

    def forward(self, hidden: Tensor) -> Tensor:
        """Route each token of (rows, tokens, width)."""
        flat = hidden.flatten(0, 1)
        return self.experts(flat, *self.router(flat)).view_as(hidden)


class PickyModel(PreTrainedModel):
    """Embeds tokens and applies one MoE layer."""

    config_class = PickyConfig

    def __init__(self, config: PickyConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(32, config.width)
        self.layers = nn.ModuleList([PickyBlock(config)])
        self.post_init()

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return hidden states, (rows, tokens, width)."""
        hidden = self.embed(input_ids)
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        return hidden
