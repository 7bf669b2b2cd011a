"""Checkpoints to read: those that Megatron wrote, and others that PyTorch's own writer makes."""

from __future__ import annotations

import json
import pickle
import shutil
import tarfile
import warnings
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed.checkpoint as dcp

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

RELEASES = ("0.12.3", "0.16.1")
BACKENDS = {"sharded_backend": "torch_dist", "sharded_backend_version": 1}
# The arguments of FLAME-MoE's command line, as far as they describe the model.
ARGUMENTS: Mapping[str, Any] = {
    "add_bias_linear": False,
    "add_qkv_bias": False,
    "apply_layernorm_1p": False,
    "group_query_attention": False,
    "hidden_size": 32,
    "kv_channels": 8,
    "max_position_embeddings": 2048,
    "multi_latent_attention": False,
    "no_rope_freq": None,
    "norm_epsilon": 1e-6,
    "normalization": "RMSNorm",
    "num_attention_heads": 4,
    # Megatron's default, which holds only where the attention is grouped.
    "num_query_groups": 1,
    "padded_vocab_size": 64,
    "position_embedding_type": "rope",
    "qk_layernorm": False,
    "rotary_base": 500000,
    "rotary_interleaved": False,
    "rotary_percent": 1.0,
    "rotary_seq_len_interpolation_factor": None,
    "squared_relu": False,
    "swiglu": True,
    "untie_embeddings_and_output_weights": True,
    "use_rope_scaling": False,
}
OF_ROUTERS: Mapping[str, Any] = {
    "moe_expert_capacity_factor": None,
    "moe_router_enable_expert_bias": False,
    "moe_router_group_topk": None,
    "moe_router_load_balancing_type": "aux_loss",
    "moe_router_num_groups": None,
    "moe_router_pre_softmax": True,
    "moe_router_score_function": "softmax",
    "moe_router_topk": 2,
    "moe_router_topk_scaling_factor": None,
}
QKV = "self_attention.linear_qkv"


def unpack(release: str, folder: Path) -> Path:
    """Return a run directory that a release of Megatron-core wrote."""
    with tarfile.open(ROOT / "tests" / "data" / "megatron" / f"core-{release}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def iteration_of(run: Path) -> Path:
    """Return the folder of the only iteration of a run directory."""
    (found,) = run.glob("iter_*")
    return found


def save(run: Path, tensors: Mapping[str, Any], arguments: Mapping[str, Any]) -> Path:
    """Write a run directory with PyTorch's own writer; an argument of ``...`` is left out."""
    folder = run / "iter_0000007"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(dict(tensors), checkpoint_id=folder, no_dist=True)
    (folder / "metadata.json").write_text(json.dumps(BACKENDS))
    stated = {name: value for name, value in arguments.items() if value is not ...}
    torch.save({"args": Namespace(**stated), "iteration": 7}, folder / "common.pt")
    (run / "latest_checkpointed_iteration.txt").write_text("7\n")
    return run


def layer(hidden: int = 32, width: int = 48, kv_rows: int = 96) -> dict[str, Tensor]:
    """Return the weights of a layer without experts, as TransformerEngine's layers name them."""
    return {
        f"{QKV}.layer_norm_weight": torch.randn(hidden),
        f"{QKV}.weight": torch.randn(kv_rows, hidden),
        "self_attention.linear_proj.weight": torch.randn(hidden, hidden),
        "mlp.linear_fc1.layer_norm_weight": torch.randn(hidden),
        "mlp.linear_fc1.weight": torch.randn(2 * width, hidden),
        "mlp.linear_fc2.weight": torch.randn(hidden, width),
    }


def moe_layer(hidden: int = 32, experts: int = 4, width: int = 8) -> dict[str, Tensor]:
    """Return the weights of a layer with experts."""
    attention = {name: one for name, one in layer().items() if name.startswith("self_attention")}
    return {
        **attention,
        "pre_mlp_layernorm.weight": torch.randn(hidden),
        "mlp.router.weight": torch.randn(experts, hidden),
        "mlp.experts.experts.linear_fc1.weight": torch.randn(experts, 2 * width, hidden),
        "mlp.experts.experts.linear_fc2.weight": torch.randn(experts, hidden, width),
        "mlp.shared_experts.linear_fc1.weight": torch.randn(4 * width, hidden),
        "mlp.shared_experts.linear_fc2.weight": torch.randn(hidden, 2 * width),
    }


def model(
    *layers: Mapping[str, Tensor], vocabulary: int = 64, hidden: int = 32
) -> dict[str, Tensor]:
    """Return the weights of a model of these layers, one tensor for each."""
    return {
        **_around(vocabulary, hidden),
        **{
            f"decoder.layers.{n}.{name}": one
            for n, found in enumerate(layers)
            for name, one in found.items()
        },
    }


def stacked(
    *layers: Mapping[str, Tensor], vocabulary: int = 64, hidden: int = 32
) -> dict[str, Tensor]:
    """Return the weights of a model of these layers, all layers in one tensor."""
    joined = {name: torch.stack([one[name] for one in layers]) for name in layers[0]}
    return {
        **_around(vocabulary, hidden),
        **{f"decoder.layers.{name}": one for name, one in joined.items()},
    }


def change_metadata(folder: Path, change: Callable[[Any], object]) -> None:
    """Change what ``.metadata`` says; the file must name PyTorch's classes only."""
    path = folder / ".metadata"
    found = pickle.loads(path.read_bytes())  # noqa: S301  (of this test)
    change(found)
    path.write_bytes(pickle.dumps(found))


def copy(run: Path, folder: Path) -> Path:
    """Return a copy of a run directory, to be damaged."""
    return Path(shutil.copytree(run, folder))


def _around(vocabulary: int, hidden: int) -> dict[str, Tensor]:
    return {
        "embedding.word_embeddings.weight": torch.randn(vocabulary, hidden),
        "decoder.final_layernorm.weight": torch.randn(hidden),
        "output_layer.weight": torch.randn(vocabulary, hidden),
    }
