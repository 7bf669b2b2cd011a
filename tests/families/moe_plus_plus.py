"""A small model of the structure of MoE++, ours, in place of its published code.

It has what makes k hard to set there. k is the constant ``MOE_TOP_K``, which the choice reads, and
the layer once more to scale the input of its experts, in place. Of N experts a layer, a number in a
list, the last four compute no FFN: two mix the input with a constant, one copies it, one returns
zeros, and the weight of that one is taken away before the weights are divided by their sum. Experts
are called one by one with their rows, by a router that returns a dictionary, and whose logits the
next layer adds to its own. The cache is a tuple of keys and values, as before transformers 4.36,
and the class of the model has no ``generate`` of its own.

``moe_plus_plus_checkpoint`` writes it to a folder, as code that comes with a checkpoint.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

MOE_TOP_K = 2
N_OTHER = 4


class MoeConfig(PretrainedConfig):  # type: ignore[misc]
    """Configuration with a list for the number of experts, and no k."""

    model_type = "MoE++"

    def __init__(
        self,
        vocab_size: int = 401,
        num_experts: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size, self.intermediate_size = 32, 24
        self.num_hidden_layers, self.num_attention_heads, self.num_key_value_heads = 2, 2, 2
        self.num_experts = num_experts or [12]
        self.moe_expert_interval = 1
        super().__init__(**kwargs)


def choose(logits: torch.Tensor) -> dict[int, list[torch.Tensor]]:
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
    """Chooses experts by a linear map, and by the logits of the layer before."""

    def __init__(self, hidden_size: int, num_experts: int) -> None:
        super().__init__()
        self.wg = nn.Linear(hidden_size, num_experts, bias=False)
        self.gate_map = nn.Linear(num_experts, num_experts, bias=False)

    def forward(
        self, hidden: torch.Tensor, residual: torch.Tensor | None
    ) -> tuple[dict[int, list[torch.Tensor]], torch.Tensor]:
        """Return the choice and the logits."""
        logits = self.wg(hidden.float())
        if residual is not None:
            logits = logits + self.gate_map(residual)
        return choose(logits), logits


class FFN(nn.Module):
    """Expert that computes something."""

    def __init__(self, config: MoeConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the output for each row."""
        output: torch.Tensor = self.down_proj(functional.silu(self.up_proj(hidden)))
        return output


class ConstantExpert(nn.Module):
    """Expert that mixes its input with a constant."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(hidden_size))
        self.wg = nn.Linear(hidden_size, 2, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the mixture for each row."""
        own, other = self.wg(hidden).softmax(-1).chunk(2, -1)
        mixed: torch.Tensor = own * hidden + other * self.constant
        return mixed


class CopyExpert(nn.Module):
    """Expert that returns its input."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return each row."""
        return hidden


class ZeroExpert(nn.Module):
    """Expert that returns zeros."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return zeros for each row."""
        return torch.zeros_like(hidden)


class Experts(nn.Module):
    """Holds the list of experts, and is never called itself."""

    def __init__(self, config: MoeConfig, num_experts: int) -> None:
        super().__init__()
        constant = [ConstantExpert(config.hidden_size) for _ in range(2)]
        ffn = [FFN(config) for _ in range(num_experts - N_OTHER)]
        self.experts = nn.ModuleList([*ffn, *constant, CopyExpert(), ZeroExpert()])


class MOELayer(nn.Module):
    """Layer that calls each expert with its rows."""

    def __init__(self, config: MoeConfig, num_experts: int) -> None:
        super().__init__()
        self.gate = Router(config.hidden_size, num_experts)
        self.experts = Experts(config, num_experts)

    def forward(
        self, hidden: torch.Tensor, residual: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weighted sum of the outputs of experts, and the logits of the router."""
        flat = hidden.reshape(-1, hidden.shape[-1])
        chosen, logits = self.gate(flat, residual)
        output = torch.zeros_like(flat)
        flat *= MOE_TOP_K
        for expert, (rows, weights) in chosen.items():
            result = self.experts.experts[expert](flat.index_select(0, rows))
            output.index_add_(0, rows, result * weights[:, None].to(result.dtype))
        return output.view_as(hidden), logits


class MOE(nn.Module):
    """One block."""

    def __init__(self, config: MoeConfig) -> None:
        super().__init__()
        self.num_experts = config.num_experts[0]
        self.moe = MOELayer(config, self.num_experts)

    def forward(
        self, hidden: torch.Tensor, residual: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the layer."""
        output: tuple[torch.Tensor, torch.Tensor] = self.moe(hidden, residual)
        return output


class Attention(nn.Module):
    """Attention of one layer, with positions as a bias that is not among the weights."""

    def __init__(self, config: MoeConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.register_buffer("slopes", 2.0 ** -torch.arange(1, self.heads + 1), persistent=False)

    def forward(
        self, hidden: torch.Tensor, seen: torch.Tensor, past: tuple[torch.Tensor, ...] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return the output, and the keys and values of all tokens (rows, heads, tokens, size).

        ``seen`` (rows, tokens) is false for padding.
        """
        rows, n_new, size = hidden.shape
        split = self.qkv(hidden).view(rows, n_new, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = split
        if past is not None:
            key = torch.cat([past[0], key], dim=2)
            value = torch.cat([past[1], value], dim=2)
        n_all = key.shape[2]
        position = torch.arange(n_all, device=hidden.device)
        distance = position[n_all - n_new :, None] - position[None, :]
        mask = (distance >= 0) & seen[:, None, None, :]
        bias = -self.slopes[:, None, None] * distance
        scores = (query @ key.transpose(2, 3) + bias).masked_fill(~mask, torch.finfo().min)
        output = scores.softmax(-1).to(value.dtype) @ value
        return output.transpose(1, 2).reshape(rows, n_new, size), (key, value)


class DecoderLayer(nn.Module):
    """Attention and one block, under the names that they have in a decoder."""

    def __init__(self, config: MoeConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.norms = nn.ModuleList(nn.LayerNorm(config.hidden_size) for _ in range(2))
        self.mlp = MOE(config)


class MoeModel(PreTrainedModel):  # type: ignore[misc]
    """The decoder, with a head."""

    config_class = MoeConfig
    _tied_weights_keys = ["lm_head.weight"]  # noqa: RUF012  (as transformers 4 had it)

    def __init__(self, config: MoeConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding of tokens."""
        embedding: nn.Module = self.embed
        return embedding

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: tuple[tuple[torch.Tensor, ...], ...] | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,  # noqa: ARG002
    ) -> CausalLMOutputWithPast:
        """Return the logits, and the cache as tuples."""
        n_past = 0 if past_key_values is None else past_key_values[0][0].shape[2]
        hidden, residual, cache = self.embed(input_ids), None, []
        seen = torch.ones(len(input_ids), n_past + input_ids.shape[1], device=hidden.device)
        seen = (seen if attention_mask is None else attention_mask).bool()
        for number, layer in enumerate(self.layers):
            past = None if past_key_values is None else past_key_values[number]
            mixed, layer_cache = layer.self_attn(layer.norms[0](hidden), seen, past)
            hidden = hidden + mixed
            routed, residual = layer.mlp(layer.norms[1](hidden), residual)
            hidden = hidden + routed
            cache.append(layer_cache)
        kept = tuple(cache) if use_cache in {None, True} else None
        return CausalLMOutputWithPast(logits=self.lm_head(hidden), past_key_values=kept)

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        past_key_values: Any = None,
        **given: Any,
    ) -> dict[str, Any]:
        """Return the arguments of the next forward pass."""
        return {
            "input_ids": input_ids[:, -1:] if past_key_values else input_ids,
            "past_key_values": past_key_values,
            "attention_mask": given.get("attention_mask"),
            "use_cache": given.get("use_cache"),
        }
