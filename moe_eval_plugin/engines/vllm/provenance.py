"""Describe a vLLM engine: its part of a record's provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from moe_eval_plugin.engines.vllm.engine import VLLMEngine


def provenance_of(engine: VLLMEngine) -> dict[str, Any]:
    """Describe a running engine as plain JSON data.

    vLLM's builds have distributions of several names, so its version is read from the module.
    """
    import vllm

    config = engine.config
    model, parallel, compilation = (
        config.model_config,
        config.parallel_config,
        config.compilation_config,
    )
    return {
        "backend": "vllm",
        "pretrained": engine.options.pretrained,
        "revision": getattr(engine.request.model.config, "_commit_hash", None)
        or engine.options.revision,
        "model_class": model.architecture,
        "verification": engine.options.verify,
        "kernels": engine.workers.kernels,
        "chat_template_kwargs": engine.options.template_arguments or None,
        "checkpoint_generation": engine.generation.to_dict(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": config.device_config.device_type,
        "enforce_eager": model.enforce_eager,
        "compilation_mode": compilation.mode.name,
        "cudagraph_mode": compilation.cudagraph_mode.name,
        "prefix_caching": config.cache_config.enable_prefix_caching,
        "engine_start_s": round(engine.start_s, 3),
        "max_model_len": model.max_model_len,
        "max_num_seqs": engine.max_num_seqs,
        "tensor_parallel_size": parallel.tensor_parallel_size,
        "pipeline_parallel_size": parallel.pipeline_parallel_size,
        "enable_expert_parallel": parallel.enable_expert_parallel,
        "versions": {**installed_versions(), "vllm": vllm.__version__},
    }
