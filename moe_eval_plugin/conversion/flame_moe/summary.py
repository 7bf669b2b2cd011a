"""What a conversion wrote: the sizes of the model, and what to know of its layout."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.conversion.flame_moe.targets import DEEPSEEK, LLAMA, QWEN2_MOE

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.conversion.flame_moe.model import FlameModel

DENSE_NOTE = "The model has no experts: it is a dense baseline, which transformers and vLLM load."
DEEPSEEK_NOTE = (
    "The router computes in float32, as in training. transformers has no model of this type: this "
    "package brings it, and registers it with vLLM. Where it is not installed, use --layout "
    "qwen2_moe."
)
QWEN2_MOE_NOTES = (
    (
        "transformers and vLLM load it as they are. The shared experts are one expert of their "
        "joint width; its gate is zero, a factor of 1/2, and its down projection is doubled."
    ),
    (
        "In float32 it computes what the trained model does. In bfloat16 its router computes in "
        "bfloat16 too, and the trained one in float32: some tokens get other experts. Use --layout "
        "deepseek where that matters."
    ),
)
LAYOUT_NOTES = {LLAMA: (DENSE_NOTE,), DEEPSEEK: (DEEPSEEK_NOTE,), QWEN2_MOE: QWEN2_MOE_NOTES}


@dataclass(frozen=True)
class ConversionSummary:
    """The result of a conversion."""

    output: Path
    """The folder."""
    source: Path
    """The folder of the iteration."""
    iteration: int | None
    """The iteration; ``None`` for a release."""
    layout: str
    """The model type."""
    dtype: str
    """The data type of most weights."""
    model: FlameModel
    """The sizes of the model."""
    n_parameters: int
    """All parameters, without the constants that a layout adds."""
    n_active: int
    """Those that a token uses."""
    n_bytes: int
    """The size of the weights' files."""
    files: tuple[str, ...]
    """The names of the files."""
    notes: tuple[str, ...]
    """What to know of the layout, the tokenizer, and of arguments that were not stated."""

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON has it."""
        return {
            "model": os.fspath(self.output),
            "source": os.fspath(self.source),
            "iteration": self.iteration,
            "layout": self.layout,
            "dtype": self.dtype,
            "bytes": self.n_bytes,
            "parameters": self.n_parameters,
            "active_parameters": self.n_active,
            "num_layers": self.model.n_layers,
            "moe_layers": list(self.model.moe_layers),
            "num_experts": self.model.n_experts,
            "num_shared_experts": self.model.n_shared,
            "num_experts_per_tok": self.model.k,
            "files": list(self.files),
            "notes": list(self.notes),
        }


def count_parameters(model: FlameModel) -> tuple[int, int]:
    """Return all parameters of a model, and those that a token uses; both count both embeddings."""
    total = sum(math.prod(shape) for shape in model.shapes().values())
    expert = 3 * model.expert_width * model.hidden
    unused = len(model.moe_layers) * (model.n_experts - model.k) * expert
    return total, total - unused


def experts_text(model: FlameModel) -> str:
    """Return the experts of a token, routed and shared ones apart."""
    if not model.n_experts:
        return "none: a dense model"
    text = f"{model.n_experts} per layer; each token uses {model.k} routed"
    if model.n_shared:
        return f"{text} and {model.n_shared} shared (published as top-{model.k + model.n_shared})"
    return f"{text} ones, and a shared one of width {model.shared_width}"


def layers_text(model: FlameModel) -> str:
    """Return the number of layers, and which have experts."""
    if not model.moe_layers:
        return str(model.n_layers)
    return f"{model.n_layers}, of which {len(model.moe_layers)} have experts"
