"""Parameter counts of a model: in total, in routed experts, and per token at k.

The model is built from its configuration on PyTorch's meta device, where every parameter has a
shape and no memory, so the counts are exact and need neither a download nor memory.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidExpertCountError, UserError
from moe_eval_plugin.models.families import describe, moe_part
from moe_eval_plugin.models.moe_layers import MATRIX, find_experts
from moe_eval_plugin.models.releases.earlier_code import EARLIER, import_model_class, written_with

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.description import MoEDescription

MAPPINGS = (
    ("AutoModelForImageTextToText", "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING"),
    ("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING"),
    ("AutoModelForSeq2SeqLM", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING"),
    ("AutoModelForMultimodalLM", "MODEL_FOR_MULTIMODAL_LM_MAPPING"),
)
# The image tower of dots3_note has experts of its own, to which the k of the text does not apply.
IMAGE_TOWER = re.compile(r"(^|\.)vis(ion|ual)(_tower|_model|_encoder)?\.")
# The classes that code of a checkpoint may have in ``auto_map``, best first. transformers 5 has no
# AutoModelForVision2Seq any more, and its successor loads what is registered for it.
OWN_CLASSES = (
    "AutoModelForImageTextToText",
    "AutoModelForVision2Seq",
    "AutoModelForMultimodalLM",
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModel",
)


@dataclass(frozen=True)
class RoutedParameters:
    """The routed experts of one layer, at the path of the module that holds them.

    ``routed_parameters`` are those of all its routed experts, ``parameters_per_expert`` those that
    one more expert per token adds. Router and shared experts do not count.
    """

    path: str
    num_experts: int
    routed_parameters: int
    parameters_per_expert: int


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters of a model: ``total``, and ``routed``, those of all routed experts.

    Parameters that two modules share (tied embeddings) count once. ``layers`` is empty for a
    dense model.
    """

    total: int
    routed: int
    layers: tuple[RoutedParameters, ...]

    def active(self, k: int) -> int:
        """Return the parameters that serve a token at k routed experts in each MoE layer.

        These are all parameters except those of the routed experts that were not chosen: image
        tower, embeddings, routers and shared experts count. Where a token may choose experts that
        compute nothing, whose few parameters always count, this is an upper bound; where image and
        text tokens have separate routed experts (ernie4_5_vl_moe) both count.

        Raises ``InvalidExpertCountError`` unless each layer has k experts.
        """
        smallest = min((layer.num_experts for layer in self.layers), default=0)
        if self.layers and not 0 <= k <= smallest:
            message = (
                f"k={k} is not possible where layers have {smallest} routed experts. "
                f"Use 0 to {smallest}."
            )
            raise InvalidExpertCountError(message)
        return self.total - self.routed + k * sum(x.parameters_per_expert for x in self.layers)


def count_parameters(
    config: PretrainedConfig, *, trust_remote_code: bool = False
) -> ParameterCounts:
    """Return the parameter counts of the model that transformers builds from a configuration.

    A quantised checkpoint counts as the model before quantisation. Raises ``UserError`` where
    transformers has no class for the model, or cannot build it without weights.
    """
    model = build_on_meta(config, trust_remote_code=trust_remote_code)
    return count_built(model, describe(config))


def count_built(model: nn.Module, description: MoEDescription) -> ParameterCounts:
    """Return the parameter counts of a model that is built already."""
    layers = tuple(
        _layer(path, module, description.num_experts, description.num_zero_experts)
        for path, module in _expert_modules(model, description.num_experts).items()
        if not IMAGE_TOWER.search(path)
    )
    return ParameterCounts(
        total=sum(parameter.numel() for parameter in model.parameters()),
        routed=sum(layer.routed_parameters for layer in layers),
        layers=layers,
    )


def stated_layers(config: PretrainedConfig) -> tuple[int, ...]:
    """List the layers with experts that a configuration states as DeepSeek's do; empty otherwise.

    They begin at ``first_k_dense_replace``, and every ``moe_layer_freq``-th is one. vLLM reads
    these two keys as well.
    """
    part = moe_part(config)
    first, step = (getattr(part, key, None) for key in ("first_k_dense_replace", "moe_layer_freq"))
    if part is None or not isinstance(first, int):
        return ()
    return tuple(n for n in range(first, part.num_hidden_layers) if n % (step or 1) == 0)


def build_on_meta(config: PretrainedConfig, *, trust_remote_code: bool = False) -> nn.Module:
    """Return the model of a configuration, built without memory for its weights.

    Raises ``UserError`` where transformers has no class for it, or cannot build it.
    """
    import torch

    if trust_remote_code:
        import_own_code(config)
    loader = auto_class(config, trust_remote_code=trust_remote_code)
    try:
        with torch.device("meta"):
            model: nn.Module = loader.from_config(
                copy.deepcopy(config),
                trust_remote_code=trust_remote_code,
                attn_implementation="eager",
                **_code_revision(config, loader),
            )
    except Exception as error:  # the constructor of a model may raise anything; it is chained
        if trust_remote_code and own_class_name(config):
            raise own_code_error(config, error) from error
        message = (
            f"transformers {version('transformers')} cannot build {config.model_type} from its "
            "configuration, so its parameters cannot be counted: " + " ".join(str(error).split())
        )
        raise UserError(message) from error
    return model


def _code_revision(config: PretrainedConfig, loader: Any) -> dict[str, str]:  # noqa: ANN401
    """Return the commit to take a checkpoint's code from, which is that of its configuration.

    Once its class was loaded it is registered, and an argument more would reach its constructor.
    """
    commit = getattr(config, "_commit_hash", None)
    is_known = type(config) in getattr(loader, "_model_mapping", ())
    return {} if commit is None or is_known else {"code_revision": commit}


def own_class_name(config: PretrainedConfig) -> str | None:
    """Return the name in ``auto_map`` under which a checkpoint brings the code of its model.

    ``None`` if it brings none. The code of Kimi-VL is registered for ``AutoModelForCausalLM``,
    though the model reads images.
    """
    auto_map = getattr(config, "auto_map", None) or {}
    return next((name for name in OWN_CLASSES if name in auto_map), None)


def auto_class(config: PretrainedConfig, *, trust_remote_code: bool = False) -> Any:  # noqa: ANN401  (the auto classes share no base)
    """Return the auto class of transformers that loads the model of a configuration.

    Code that comes with the checkpoint and is trusted comes first. Raises ``UserError`` where
    transformers has no class for the model.
    """
    import transformers

    own = own_class_name(config) if trust_remote_code else None
    if own is not None:
        loader = getattr(transformers, own, transformers.AutoModelForImageTextToText)
        config.auto_map = {**config.auto_map, loader.__name__: config.auto_map[own]}
        return loader
    for name, mapping in MAPPINGS:
        if type(config) in getattr(transformers, mapping, ()):
            return getattr(transformers, name)
    message = (
        f"transformers {version('transformers')} has no language model for {config.model_type}, so "
        "its parameters cannot be counted."
    )
    raise UserError(message)


def import_own_code(config: PretrainedConfig) -> None:
    """Import the code of a model that its checkpoint brings, if it was written for transformers 4.

    Later code is imported by transformers itself. Raises ``UserError`` where it fails.
    """
    name, written = own_class_name(config), written_with(config)
    if name is None or not written.startswith(EARLIER):
        return
    try:
        import_model_class(config, name, written)
    except Exception as error:  # code may raise anything; it is chained
        raise own_code_error(config, error) from error


def own_code_error(config: PretrainedConfig, error: Exception) -> UserError:
    """Return the error for code of a checkpoint that fails before a weight is read."""
    installed = version("transformers")
    written = written_with(config)
    since = f" Its config.json was written with transformers {written}." if written else ""
    text = " ".join(str(error).split()).rstrip(".")
    message = (
        f"The code that comes with {config.name_or_path or config.model_type} does not run with "
        f"transformers {installed}: {type(error).__name__}: {text}.{since} Install what it needs, "
        "use a checkpoint or a revision whose code is as new as transformers, or try moe_vllm, if "
        "vLLM has this model itself."
    )
    return UserError(message)


def _expert_modules(model: nn.Module, num_experts: int) -> dict[str, nn.Module]:
    """Return the modules that observations count, and lists of experts named ``experts``."""
    from torch import nn

    lists = {
        path: module
        for path, module in model.named_modules()
        if path.endswith("experts")
        and isinstance(module, nn.ModuleList)
        and len(module) == num_experts
    }
    return {**find_experts(model), **lists}


def _layer(
    path: str, module: nn.Module, num_experts: int, num_zero_experts: int
) -> RoutedParameters:
    children = list(module.children())
    num_experts = int(getattr(module, "num_experts", 0)) or num_experts or len(children)
    if num_zero_experts and (listed := _experts_in_list(children, num_experts + num_zero_experts)):
        # Those that compute nothing come last. Their few parameters count for every token.
        sizes = [sum(p.numel() for p in expert.parameters()) for expert in listed[:num_experts]]
        return RoutedParameters(path, num_experts, sum(sizes), sum(sizes) // num_experts)
    if len(children) == num_experts:
        routed = sum(parameter.numel() for parameter in module.parameters())
        return RoutedParameters(path, num_experts, routed, routed // num_experts)
    stacks = [p for p in module.parameters() if p.dim() >= MATRIX]
    # A stack has a row per expert, and in some families one for each that computes nothing too.
    with_zero = num_experts + num_zero_experts
    return RoutedParameters(
        path=path,
        num_experts=num_experts,
        routed_parameters=sum(p.numel() for p in stacks),
        parameters_per_expert=sum(
            p.numel() // (with_zero if p.shape[0] == with_zero else num_experts) for p in stacks
        ),
    )


def _experts_in_list(children: list[nn.Module], n: int) -> list[nn.Module]:
    """Return the experts of the list that is the only child of a module, if it has ``n``."""
    listed = list(children[0].children()) if len(children) == 1 else []
    return listed if len(listed) == n else []
