"""Describe a transformers engine: its part of a record's provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from moe_eval_plugin.engines.transformers.engine import HFEngine


def provenance_of(engine: HFEngine) -> dict[str, Any]:
    """Describe a loaded model as plain JSON data."""
    config, device = engine.model.config, engine.input_device
    on_gpu = device.type == "cuda"
    return {
        "pretrained": engine.options.pretrained,
        "revision": getattr(config, "_commit_hash", None) or engine.options.revision,
        "model_class": type(engine.model).__name__,
        "experts_implementation": getattr(config, "_experts_implementation", None),
        "attn_implementation": getattr(config, "_attn_implementation", None),
        "chat_template_kwargs": engine.options.template_arguments or None,
        "checkpoint_generation": engine.generation.to_dict(),
        "dtype": str(engine.model.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "versions": installed_versions(),
    }
