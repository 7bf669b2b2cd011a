"""Public test doubles: tiny models with random weights, and a clock that tests advance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.architectures.register import register_for

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

TINY_TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "num_experts": 8,
    "num_experts_per_tok": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}


class ManualClock:
    """Clock in seconds that changes only by ``advance``."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the current time in seconds."""
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.now_s += seconds


def tiny_config(model_type: str = "qwen3_moe", **changes: Any) -> PretrainedConfig:  # noqa: ANN401
    """Return the configuration of a very small text model: 3 layers, 8 experts, k of 4.

    Only keys that the family has are set, so that a dense one stays without experts.
    """
    from transformers import AutoConfig

    register_for({"model_type": model_type}, trust_remote_code=False)
    published = AutoConfig.for_model(model_type)
    tiny = {key: value for key, value in TINY_TEXT.items() if hasattr(published, key)}
    return AutoConfig.for_model(model_type, **{**tiny, **changes})


def tiny_moe(model_type: str = "qwen3_moe", *, seed: int = 0, **changes: Any) -> PreTrainedModel:  # noqa: ANN401
    """Build a very small MoE text model with random weights that are large enough to matter.

    ``changes`` go to the configuration. The same seed produces the same weights.
    """
    from transformers import AutoModelForCausalLM

    model: PreTrainedModel = AutoModelForCausalLM.from_config(tiny_config(model_type, **changes))
    fill_with_noise(model, seed=seed)
    return model.eval()


def fill_with_noise(model: nn.Module, *, seed: int = 0) -> None:
    """Fill a model with random weights that are large enough for each router's choice to matter.

    Matrices and larger parameters are filled, and the selection biases of some routers. The same
    seed produces the same weights.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    biases = [b for name, b in model.named_buffers() if "bias" in name and b.is_floating_point()]
    with torch.no_grad():
        for tensor in [*(p for p in model.parameters() if p.dim() > 1), *biases]:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.25)
