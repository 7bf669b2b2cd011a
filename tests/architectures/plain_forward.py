"""The forward pass of DeepSeekMoE as its paper states it: float64, token by token, no framework.

It reads the weights by the names that published checkpoints have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return every tensor of a checkpoint of one file, in float64."""
    return {name: w.double() for name, w in load_file(folder / "model.safetensors").items()}


def logits_at_k(config: Any, weights: Mapping[str, Tensor], ids: list[int], k: int) -> Tensor:
    """Return the logits (tokens, vocabulary) of one sequence with k routed experts per token."""
    states = weights["model.embed_tokens.weight"][ids]
    for layer in range(config.num_hidden_layers):
        of_layer = _part(weights, f"model.layers.{layer}.")
        normed = _norm(states, of_layer["input_layernorm.weight"], config.rms_norm_eps)
        states = states + _attention(config, _part(of_layer, "self_attn."), normed)
        normed = _norm(states, of_layer["post_attention_layernorm.weight"], config.rms_norm_eps)
        mlp = _part(of_layer, "mlp.")
        if "gate.weight" in mlp:
            states = states + torch.stack([_experts(mlp, token, k) for token in normed])
        else:
            states = states + _feed_forward(mlp, normed)
    normed = _norm(states, weights["model.norm.weight"], config.rms_norm_eps)
    return normed @ weights["lm_head.weight"].T


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}


def _norm(states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    return states / (states.square().mean(-1, keepdim=True) + epsilon).sqrt() * weight


def _feed_forward(weights: Mapping[str, Tensor], states: Tensor) -> Tensor:
    gate = states @ weights["gate_proj.weight"].T
    up = states @ weights["up_proj.weight"].T
    return (gate * gate.sigmoid() * up) @ weights["down_proj.weight"].T


def _experts(weights: Mapping[str, Tensor], token: Tensor, k: int) -> Tensor:
    """Add the shared experts and the k likeliest routed ones, each times its probability."""
    probabilities = (weights["gate.weight"] @ token).softmax(-1).tolist()
    ranked = sorted(range(len(probabilities)), key=lambda expert: -probabilities[expert])
    total = _feed_forward(_part(weights, "shared_experts."), token)
    for expert in ranked[:k]:
        out = _feed_forward(_part(weights, f"experts.{expert}."), token)
        total = total + probabilities[expert] * out
    return total


def _attention(config: Any, weights: Mapping[str, Tensor], states: Tensor) -> Tensor:
    size = config.hidden_size // config.num_attention_heads
    query, key, value = (states @ weights[f"{name}_proj.weight"].T for name in "qkv")
    group = config.num_attention_heads // config.num_key_value_heads
    mixed = []
    for head in range(config.num_attention_heads):
        own, shared = slice(head * size, (head + 1) * size), head // group
        of_group = slice(shared * size, (shared + 1) * size)
        scores = _rotate(query[:, own]) @ _rotate(key[:, of_group]).T / size**0.5
        future = torch.ones_like(scores).triu(1).bool()
        mixed.append(scores.masked_fill(future, -torch.inf).softmax(-1) @ value[:, of_group])
    return torch.cat(mixed, -1) @ weights["o_proj.weight"].T


def _rotate(states: Tensor) -> Tensor:
    """Turn the two halves of each token's vector by angles that grow with its position."""
    n_tokens, size = states.shape
    frequencies = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.arange(n_tokens, dtype=torch.float64)[:, None] * frequencies
    first, second = states.chunk(2, -1)
    turned = (
        first * angles.cos() - second * angles.sin(),
        second * angles.cos() + first * angles.sin(),
    )
    return torch.cat(turned, -1)
