from __future__ import annotations

from typing import Any


def state(model: Any) -> tuple[Any, ...]:
    """Return what an override changes."""
    return model.config.num_experts_per_tok, *(layer.mlp.gate.top_k for layer in model.model.layers)
