"""Save a model as Megatron-LM's training does with FLAME-MoE's command line."""

from __future__ import annotations

import argparse
import inspect
from typing import TYPE_CHECKING, Any

import torch
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.dist_checkpointing.serialization import get_default_save_sharded_strategy
from megatron.core.dist_checkpointing.strategies.fully_parallel import (
    FullyParallelSaveStrategyWrapper,
)
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from megatron.core.transformer.enums import AttnBackend

if TYPE_CHECKING:
    from pathlib import Path

    from megatron.core.models.gpt.gpt_model import GPTModel
    from shapes import Shape

ITERATION = 100
NORM_EPSILON, ROTARY_BASE, MAX_LENGTH = 1e-6, 10000, 2048


def save(folder: Path, model: GPTModel, shape: Shape, optimizer: Any) -> None:
    """Save a checkpoint as Megatron-LM's training does with FLAME-MoE's settings."""
    iteration = folder / f"iter_{ITERATION:07d}"
    iteration.mkdir(exist_ok=True)
    content: dict[str, Any] = {
        "args": flame_arguments(shape),
        "checkpoint_version": 3.0,
        "iteration": ITERATION,
        "num_floating_point_operations_so_far": 1.5e9,
        "model": model.sharded_state_dict(),
    }
    strategy = get_default_save_sharded_strategy("torch_dist")
    if optimizer is not None:
        content["optimizer"] = optimizer_state(optimizer, content["model"], shape.optimizer)
        group = parallel_state.get_data_parallel_group(with_context_parallel=True)
        strategy = FullyParallelSaveStrategyWrapper(strategy, group)
    dist_checkpointing.save(content, str(iteration), strategy)
    tracker = folder / "latest_checkpointed_iteration.txt"
    tracker.write_text(str(ITERATION), encoding="utf-8")


def optimizer_state(optimizer: Any, model_state: dict[str, Any], kind: str) -> Any:
    """Return what the distributed optimizer stores, in one of Megatron's kinds of it."""
    if "metadata" in inspect.signature(DistributedOptimizer.sharded_state_dict).parameters:
        settings: dict[str, Any] = {"metadata": {"distrib_optim_sharding_type": kind}}
    else:  # before 0.13
        settings = {"sharding_type": kind}
    return optimizer.sharded_state_dict(model_state, **settings)


def flame_arguments(shape: Shape) -> argparse.Namespace:
    """Return the arguments that Megatron-LM stores for FLAME-MoE's command line."""
    return argparse.Namespace(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        ffn_hidden_size=shape.ffn,
        num_attention_heads=shape.heads,
        kv_channels=shape.hidden // shape.heads,
        group_query_attention=bool(shape.groups),
        num_query_groups=shape.groups or 1,  # Megatron-LM stores 1 where there are no groups
        max_position_embeddings=MAX_LENGTH,
        position_embedding_type="rope",
        rotary_base=ROTARY_BASE,
        rotary_percent=1.0,
        rotary_interleaved=False,
        normalization="RMSNorm",
        norm_epsilon=NORM_EPSILON,
        swiglu=True,
        add_bias_linear=False,
        add_qkv_bias=False,
        qk_layernorm=False,
        untie_embeddings_and_output_weights=True,
        padded_vocab_size=shape.vocab,
        num_experts=shape.experts or None,
        moe_ffn_hidden_size=shape.moe_ffn,
        moe_router_topk=shape.topk,
        moe_router_topk_scaling_factor=None,
        moe_router_pre_softmax=True,
        moe_router_score_function="softmax",
        moe_router_dtype="fp32",
        moe_shared_expert_intermediate_size=2 * shape.moe_ffn if shape.experts else None,
        moe_layer_freq=layer_pattern(shape) if shape.experts else 1,
        moe_grouped_gemm=False,
        expert_model_parallel_size=shape.processes,
        use_distributed_optimizer=bool(shape.optimizer),
        tokenizer_type="HuggingFaceTokenizer",
        tokenizer_model="EleutherAI/pythia-12b",
        transformer_impl="transformer_engine",
        attention_backend=AttnBackend.auto,
        params_dtype=getattr(torch, shape.dtype),
        bf16=shape.dtype == "bfloat16",
    )


def layer_pattern(shape: Shape) -> list[int]:
    """Return 1 for each layer with experts: all but the first."""
    return [0] + [1] * (shape.layers - 1)
