"""Describe a transformers model: its part of a record's provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from moe_eval_plugin.engines.transformers.engine import HFEngine


def provenance_of(engine: HFEngine) -> dict[str, Any]:
    """Describe the model of an engine as plain JSON data."""
    options = engine.options
    return {
        **describe_model(engine.model, options.pretrained, options.revision, engine.input_device),
        "chat_template_kwargs": options.template_arguments or None,
        "checkpoint_generation": engine.generation.to_dict(),
    }


def describe_model(
    model: Any,  # noqa: ANN401  (one of many classes)
    pretrained: str,
    revision: str | None,
    device: torch.device,
) -> dict[str, Any]:
    """Describe a loaded model as plain JSON data; ``device`` is that of its inputs."""
    config = model.config
    return {
        "pretrained": pretrained,
        "revision": getattr(config, "_commit_hash", None) or revision,
        "model_class": type(model).__name__,
        "experts_implementation": getattr(config, "_experts_implementation", None),
        "attn_implementation": getattr(config, "_attn_implementation", None),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "versions": installed_versions(),
    }
