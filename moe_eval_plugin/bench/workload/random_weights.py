"""Build a model of real size with random weights: speed depends on its configuration alone.

It is built on the meta device, then its tensors are allocated on the target device in the requested
data type and filled one by one, so that no tensor is in memory twice. transformers' initialisation
fills them, for every supported family. Embeddings and routers are then filled again, because the
small numbers of that initialisation make all tokens alike, so that they choose the same experts.

The embedding of each token is its own random direction, large compared with what the layers add.
A router's logits are then independent for tokens and experts: every expert is equally likely. For
a skewed choice, all embeddings share one coordinate, and a router's weights there add the logarithm
of the expert's popularity to its logits; with noise of the width of a Gumbel distribution, the top
k of these are draws by popularity without replacement.
"""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.bench.workload.experts_implementation import use_experts
from moe_eval_plugin.engines.checks.memory import HEADROOM, require_memory
from moe_eval_plugin.engines.transformers.loading import adapt_model
from moe_eval_plugin.errors import InvalidArgumentError, UnsupportedFamilyError
from moe_eval_plugin.hardware.memory import free_memory
from moe_eval_plugin.models.architecture import ROUTER_NAME, SHARED_NAME
from moe_eval_plugin.models.moe_layers import MATRIX, find_moe_layers
from moe_eval_plugin.models.parameters import build_on_meta

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn
    from transformers import PretrainedConfig

    from moe_eval_plugin.models.moe_layers import MoELayer

UNIFORM_ROUTING, SKEWED_ROUTING = "uniform", "skewed"
SHARED_COORDINATE = 0
SHARED_VALUE = 4.0
GUMBEL_WIDTH = math.pi / math.sqrt(6)


@dataclass(frozen=True)
class Routing:
    """How tokens choose experts: the r-th most popular one in proportion to r^-exponent.

    An exponent of 0 makes all experts equally popular. Each layer has its own popular experts.
    """

    exponent: float = 0.0

    def __str__(self) -> str:
        return f"{SKEWED_ROUTING}:{self.exponent:g}" if self.exponent else UNIFORM_ROUTING


def parse_routing(text: str) -> Routing:
    """Read ``uniform`` or ``skewed:S``, S above 0. Raises ``InvalidArgumentError``."""
    name, _, number = text.partition(":")
    try:
        exponent = float(number) if name == SKEWED_ROUTING else 0.0
    except ValueError:
        exponent = math.nan
    is_skew = name == SKEWED_ROUTING and 0 < exponent < math.inf
    if text != UNIFORM_ROUTING and not is_skew:
        message = (
            f"routing={text} is not known. Use uniform, or skewed:S with S above 0: the larger S, "
            "the more tokens choose the same experts (skewed:1 is Zipf's law)."
        )
        raise InvalidArgumentError(message)
    return Routing(exponent)


def build(
    config: PretrainedConfig,
    routing: Routing | None = None,
    *,
    dtype: str = "auto",
    device: str = "cpu",
    seed: int = 0,
    experts_implementation: str | None = None,
    attn_implementation: str | None = None,
    trust_remote_code: bool = False,
) -> Any:  # noqa: ANN401  (one of many model classes)
    """Build a model and fill it with random weights on the device; ready to generate.

    ``dtype`` is that of the configuration where it is ``auto`` (``float32`` if that has none).
    The same seed gives the same weights on the same type of device. Raises ``UserError`` where
    transformers cannot build the model, ``InsufficientMemoryError`` where it does not fit, and
    ``UnsupportedFamilyError`` for a skewed choice in a family whose routers cannot be skewed.
    """
    import torch

    config = copy.deepcopy(config)
    config.dtype = _dtype(config, dtype)
    model: Any = build_on_meta(config, trust_remote_code=trust_remote_code)
    model.set_attn_implementation(model.get_correct_attn_implementation(attn_implementation))
    use_experts(model, experts_implementation)
    _require_memory(model, device)
    with _seeded(seed, device), torch.no_grad():
        model.to_empty(device=device)
        model.init_weights()
        adapt_model(model)
        _fill(model, routing or Routing())
    return model.requires_grad_(requires_grad=False).eval()


def _dtype(config: PretrainedConfig, requested: str) -> Any:  # noqa: ANN401  (torch.dtype)
    import torch

    if requested != "auto":
        return getattr(torch, requested)
    return getattr(config, "dtype", None) or config.get_text_config().dtype or torch.float32


def _require_memory(model: nn.Module, device: str) -> None:
    memory = free_memory(device, None)
    if memory is not None:
        tensors = {id(p): p.numel() * p.element_size() for p in model.parameters()}
        needed = int(sum(tensors.values()) * HEADROOM)
        require_memory(f"{type(model).__name__} with random weights", needed, memory)


@contextmanager
def _seeded(seed: int, device: str) -> Iterator[None]:
    """Draw from this seed within the block, and restore the random state afterwards."""
    import torch

    target = torch.device(device)
    gpus = [target.index or 0] if target.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        torch.manual_seed(seed)
        yield


def _fill(model: Any, routing: Routing) -> None:  # noqa: ANN401
    """Fill embeddings and routers so that experts are chosen as requested."""
    embedding = model.get_input_embeddings().weight
    embedding.normal_()
    if routing.exponent:
        embedding[:, SHARED_COORDINATE] = SHARED_VALUE
    n_routers = 0
    for layer in find_moe_layers(model):
        for weight in _router_weights(model, layer, embedding.shape[-1]):
            _fill_router(weight, routing)
            n_routers += 1
    if routing.exponent and not n_routers:
        message = (
            f"routing={routing} is not possible for {model.config.model_type}: its routers have no "
            f"weights of one row per expert that could be skewed. Use routing={UNIFORM_ROUTING}."
        )
        raise UnsupportedFamilyError(message)


def _router_weights(model: nn.Module, layer: MoELayer, width: int) -> Iterator[Tensor]:
    """Yield the matrices of an MoE layer that choose its experts, as (experts, width)."""
    block = layer.path.rpartition(".")[0] if layer.path in layer.expert_modules else layer.path
    counts = {layer.num_experts, (layer.num_experts or 0) + (layer.num_zero_experts or 0)}
    for name, parameter in model.get_submodule(block).named_parameters():
        path = f"{block}.{name}"
        is_expert = any(path.startswith(f"{holder}.") for holder in layer.expert_modules)
        is_router = any(ROUTER_NAME.fullmatch(part) for part in name.split("."))
        if parameter.dim() != MATRIX or is_expert or not is_router or SHARED_NAME.search(name):
            continue
        rows, columns = parameter.shape
        if rows in counts and columns == width:
            yield parameter
        elif columns in counts and rows == width:
            yield parameter.T


def _fill_router(weight: Tensor, routing: Routing) -> None:
    import torch

    n_experts, width = weight.shape
    weight.normal_(std=GUMBEL_WIDTH / math.sqrt(width))
    if routing.exponent:
        ranks = torch.randperm(n_experts, device=weight.device) + 1
        popularity = -routing.exponent * ranks.log()
        weight[:, SHARED_COORDINATE] = (popularity / SHARED_VALUE).to(weight.dtype)
