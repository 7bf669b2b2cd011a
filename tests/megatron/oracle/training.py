"""A model of Megatron-core: built, trained for a step, and run at each k."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import megatron.core
import torch
from cpu import OnCPU
from megatron.core import parallel_state
from megatron.core.distributed import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
    finalize_model_grads,
)
from megatron.core.models.gpt.gpt_layer_specs import (
    get_gpt_decoder_block_spec,
    get_gpt_layer_local_spec,
)
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.transformer.transformer_config import TransformerConfig
from safetensors.torch import save_file
from saving import MAX_LENGTH, NORM_EPSILON, ROTARY_BASE, layer_pattern, save

if TYPE_CHECKING:
    from pathlib import Path

    from shapes import Shape


def version() -> str:
    """Return the version of Megatron-core."""
    return str(megatron.core.__version__)


def run(folder: Path, shape: Shape) -> None:
    """Write a run directory and the logits of its model, as one of the processes of the run."""
    with OnCPU():
        model = build(shape)
        fill(model, shape.seed)
        ids = torch.randint(0, shape.vocab, (2, shape.sequence), generator=_generator(shape.seed))
        optimizer = train(model, shape, ids) if shape.optimizer else None
        save(folder, model, shape, optimizer)
        results = {} if shape.dtype == "float32" else logits_by_k(model, shape, ids, shape.dtype)
        results |= logits_by_k(in_float32(model, shape), shape, ids, "float32")
    if torch.distributed.get_rank() == 0:
        save_file({"token_ids": ids, **results}, folder / "logits.safetensors")


def build(shape: Shape) -> GPTModel:
    """Build the model; its layers have the keys of FLAME-MoE's Transformer Engine if asked for."""
    config = transformer_config(shape)
    if shape.experts:
        spec = get_gpt_decoder_block_spec(config, use_transformer_engine=False)
        if shape.transformer_engine_names:
            for layer in spec.layer_specs[1:]:
                layer.submodules.sharded_state_dict_keys_map.pop("pre_mlp_layernorm.", None)
    else:
        spec = get_gpt_layer_local_spec(normalization="RMSNorm")
    model = GPTModel(
        config,
        spec,
        vocab_size=shape.vocab,
        max_sequence_length=MAX_LENGTH,
        share_embeddings_and_output_weights=False,
        position_embedding_type="rope",
        rotary_base=ROTARY_BASE,
        rotary_percent=1.0,
    )
    return model.to(getattr(torch, shape.dtype))


def transformer_config(shape: Shape) -> TransformerConfig:
    """Return what FLAME-MoE's command line becomes, with the fusions off that need a GPU."""
    dtype = getattr(torch, shape.dtype)
    of_experts: dict[str, Any] = {
        "num_moe_experts": shape.experts,
        "moe_ffn_hidden_size": shape.moe_ffn,
        "moe_router_topk": shape.topk,
        "moe_shared_expert_intermediate_size": 2 * shape.moe_ffn,
        "moe_layer_freq": layer_pattern(shape),
        "moe_router_dtype": "fp32",
        "moe_router_pre_softmax": True,
        "moe_router_score_function": "softmax",
        "moe_aux_loss_coeff": 0.01,
        "moe_z_loss_coeff": 0.001,
        "moe_token_dispatcher_type": "alltoall",
        "expert_model_parallel_size": shape.processes,
    }
    return TransformerConfig(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        num_attention_heads=shape.heads,
        num_query_groups=shape.groups or None,
        ffn_hidden_size=shape.ffn,
        normalization="RMSNorm",
        layernorm_epsilon=NORM_EPSILON,
        gated_linear_unit=True,
        activation_func=torch.nn.functional.silu,
        add_bias_linear=False,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        params_dtype=dtype,
        bf16=dtype is torch.bfloat16,
        use_cpu_initialization=True,
        bias_activation_fusion=False,
        masked_softmax_fusion=False,
        gradient_accumulation_fusion=False,
        apply_rope_fusion=False,
        bias_dropout_fusion=False,
        **(of_experts if shape.experts else {}),
    )


def fill(model: GPTModel, seed: int) -> None:
    """Draw weights that make each part matter: norms unlike 1, routers that decide clearly.

    A tensor depends on its name and on the number of its expert, not on the process that holds it.
    """
    first_expert = parallel_state.get_expert_model_parallel_rank() * _experts_here(model)
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        if "local_experts" in parts:
            number = parts.index("local_experts") + 1
            parts[number] = str(first_expert + int(parts[number]))
        drawn = torch.randn(parameter.shape, generator=_generator(seed, *parts))
        with torch.no_grad():
            if "norm" in name:
                parameter.add_(0.2 * drawn)
            else:
                parameter.copy_(drawn * (0.2 if "router" in name else parameter.shape[-1] ** -0.5))


def _experts_here(model: GPTModel) -> int:
    names = {name.split("local_experts.")[1].split(".")[0] for name in _expert_names(model)}
    return len(names)


def _expert_names(model: GPTModel) -> list[str]:
    return [name for name, _ in model.named_parameters() if "local_experts." in name]


def _generator(seed: int, *parts: str) -> torch.Generator:
    from zlib import crc32

    # PyTorch's generator on a CPU uses the lower 32 bits of its seed.
    return torch.Generator().manual_seed(crc32(".".join(parts).encode()) ^ seed)


def train(model: GPTModel, shape: Shape, ids: torch.Tensor) -> Any:
    """Train for one step with the distributed optimizer, and return the optimizer."""
    parallel = DistributedDataParallelConfig(use_distributed_optimizer=True)
    wrapped = DistributedDataParallel(model.config, parallel, model)
    settings = OptimizerConfig(
        optimizer="adam",
        lr=1e-3,
        bf16=shape.dtype == "bfloat16",
        params_dtype=getattr(torch, shape.dtype),
        use_distributed_optimizer=True,
    )
    optimizer = get_megatron_optimizer(settings, [wrapped])
    wrapped.zero_grad_buffer()
    positions, mask = _positions_and_mask(ids)
    wrapped(ids, positions, mask, labels=ids.roll(-1, dims=1)).mean().backward()
    finalize_model_grads([wrapped])
    stepped, _, _ = optimizer.step()
    assert stepped
    return optimizer


def logits_by_k(
    model: GPTModel, shape: Shape, ids: torch.Tensor, dtype: str
) -> dict[str, torch.Tensor]:
    """Return logits (texts, tokens, vocabulary) for each k; for a dense model, one entry."""
    model.eval()
    positions, mask = _positions_and_mask(ids)
    results = {}
    for k in shape.k_values or (0,):
        set_k(model, k)
        with torch.no_grad():
            name = f"{dtype}.k{k}" if k else dtype
            results[name] = model(ids, positions, mask).to(getattr(torch, dtype)).contiguous()
    return results


def set_k(model: GPTModel, k: int) -> None:
    """Let each router choose k experts."""
    for module in model.modules():
        for name in ("topk", "router_topk"):
            if hasattr(module, name):
                setattr(module, name, k)
        config = getattr(module, "config", None)
        if dataclasses.is_dataclass(config) and k:
            config.moe_router_topk = k  # type: ignore[attr-defined]


def in_float32(model: GPTModel, shape: Shape) -> GPTModel:
    """Return a float32 model with the same weights."""
    if shape.dtype == "float32":
        return model
    copy = build(dataclasses.replace(shape, dtype="float32"))
    pairs = zip(copy.named_parameters(), model.named_parameters(), strict=True)
    with torch.no_grad():
        for (name, target), (source_name, source) in pairs:
            assert name == source_name
            target.copy_(source)
    return copy


def _positions_and_mask(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return positions (texts, tokens), and a mask that is true where a token is hidden."""
    length = ids.shape[1]
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    return torch.arange(length).expand_as(ids), hidden[None, None]
