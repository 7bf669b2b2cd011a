"""A checkpoint of the small MoE++ that brings its own code, with the embedded model's tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from moe_eval_plugin.models.demo import MODEL_PATH
from tests.families import moe_plus_plus

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CODE = "modeling_moe_plus_plus"


def build(seed: int = 0) -> PreTrainedModel:
    """Return the model with random weights, without a folder."""
    torch.manual_seed(seed)
    model = moe_plus_plus.MoeModel(moe_plus_plus.MoeConfig())
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def save(folder: Path, k: int = moe_plus_plus.MOE_TOP_K, **changes: Any) -> Path:
    """Write the model, with this k as the constant of its code, and return its folder.

    The weights are the same for every k. ``changes`` go to ``config.json``.
    """
    folder.mkdir(parents=True)
    code = Path(moe_plus_plus.__file__).read_text("utf-8")
    constant = f"MOE_TOP_K = {moe_plus_plus.MOE_TOP_K}\n"
    (folder / f"{CODE}.py").write_text(code.replace(constant, f"MOE_TOP_K = {k}\n"), "utf-8")
    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    tokenizer.save_pretrained(folder)
    model = build()
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    written = {
        "architectures": ["MoeModel"],
        "auto_map": {"AutoConfig": f"{CODE}.MoeConfig", "AutoModelForCausalLM": f"{CODE}.MoeModel"},
        "model_type": "MoE++",
        "num_experts": [12],
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.31.0",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(written), "utf-8")
    return folder
