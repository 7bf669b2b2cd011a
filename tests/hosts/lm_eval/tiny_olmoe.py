"""A tiny OLMoE with random weights: 2 layers, 8 experts, published k of 4; saved at any k."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoTokenizer, OlmoeConfig, OlmoeForCausalLM

from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.testing import fill_with_noise

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED_K = 4


def save_olmoe(folder: Path, k: int = PUBLISHED_K, seed: int = 3, **changes: Any) -> Path:
    """Save the model with this k in its configuration, and return its folder.

    The weights are the same for every k, and others for another seed. ``changes`` go to the
    configuration.
    """
    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_experts": 8,
        "num_experts_per_tok": k,
        "max_position_embeddings": 128,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    torch.manual_seed(0)
    model = OlmoeForCausalLM(OlmoeConfig(**{**settings, **changes}))
    fill_with_noise(model, seed=seed)  # whose answers are mostly words
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
