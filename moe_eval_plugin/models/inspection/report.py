"""Report on a model before it runs: its experts, its k, and the cost at each k."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from moe_eval_plugin.models.checkpoint import load_config, resolve
from moe_eval_plugin.models.costs.cost_at_k import CostAtK, Scenario, costs_at_k, k_values
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.inspection.parts import ModelParts, built_parts
from moe_eval_plugin.models.inspection.stated import stated_model
from moe_eval_plugin.models.weights.completeness import check_files_if_any
from moe_eval_plugin.models.weights.dtypes import dtype_bytes
from moe_eval_plugin.models.weights.quantisation import quantisation_method
from moe_eval_plugin.models.weights.size import weight_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.models.architecture import DecoderLayer
    from moe_eval_plugin.models.parameters import RoutedParameters

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ModelReport:
    """Everything that ``moe-eval inspect`` reports; ``None`` where it is unknown."""

    schema_version: int
    """Version of this record's form."""
    model: str
    """Name of the model as it was requested."""
    resolved: str
    """Folder or Hub id of the model."""
    model_type: str
    """Model type of the configuration."""
    is_moe: bool
    """Whether the model has routed experts."""
    n_layers: int | None
    """Decoder layers of the language model."""
    n_moe_layers: int | None
    """Decoder layers with routed experts."""
    num_experts: int
    """Routed experts of an MoE layer that compute."""
    num_shared_experts: int
    """Experts that every token uses."""
    num_zero_experts: int
    """Routed experts that compute nothing."""
    zero_expert_kinds: Mapping[str, int]
    """How many of these are of each kind; empty where the kinds are not known."""
    min_num_experts_per_tok: int
    """Smallest k that can be set."""
    max_num_experts_per_tok: int
    """Largest k that can be set."""
    baseline_num_experts_per_tok: int
    """Routed experts per token of the published model."""
    total_num_experts_per_tok: int
    """The same, plus the shared experts."""
    renormalisation: Literal["always", "never", "unknown"]
    """Whether the weights of the chosen experts are divided by their sum."""
    fixed_k_reason: str | None
    """Why k cannot be changed; ``None`` if it can."""
    warnings: tuple[str, ...]
    """Warnings of the family for whoever changes k."""
    total_parameters: int | None
    """All parameters of the model."""
    routed_parameters: int | None
    """Parameters of all routed experts."""
    parameters_unknown_reason: str | None
    """Why parameters could not be counted."""
    dtype: str | None
    """Data type of the configuration."""
    quantisation: str | None
    """Method of quantisation; ``None`` without one."""
    weights_bytes: int | None
    """Size of the weight files."""
    memory_dtype: str | None
    """Data type of weights and cache in memory."""
    weights_memory_bytes: int | None
    """Size of all parameters in ``memory_dtype``."""
    kv_cache_bytes_per_token: int | None
    """Size of the key-value cache of one token, in ``memory_dtype``."""
    context_length: int
    """Tokens of a sequence, for the costs."""
    kv_cache_bytes_per_sequence: int | None
    """Size of the key-value cache of a sequence of ``context_length`` tokens."""
    routed_flop_share: float | None
    """Share of the FLOPs of a prompt in routed experts, at the baseline, 0 to 1."""
    decode_routed_flop_share: float | None
    """The same share of one new token after the prompt."""
    image_flops_per_patch: int | None
    """FLOPs of the image tower per patch: 2 per matrix parameter, without attention."""
    image_flops_per_image: int | None
    """The same per image, where the configuration fixes the size of images."""
    cost_unknown_reason: str | None
    """Why the costs are unknown."""
    costs: tuple[CostAtK, ...]
    """Cost of a token at each k."""
    layers: tuple[DecoderLayer, ...]
    """Parameters of each decoder layer by part."""
    expert_modules: tuple[RoutedParameters, ...]
    """Each module that holds routed experts."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
        return asdict(self)


def inspect_model(
    pretrained: str,
    revision: str | None = None,
    *,
    trust_remote_code: bool = False,
    scenario: Scenario | None = None,
) -> ModelReport:
    """Return the report on a model, from its configuration and the list of its files.

    No weight is loaded. Raises ``ModelNotFoundError`` and ``UserError`` as
    ``checkpoint.load_config`` does. What cannot be counted is ``None``, and the report has the
    reason.
    """
    scenario = scenario or Scenario()
    stated = stated_model(pretrained, revision)
    if stated is not None:
        config, description, model = stated
    else:
        config = load_config(pretrained, revision, trust_remote_code=trust_remote_code)
        description = describe(config)
        model = built_parts(config, description, trust_remote_code=trust_remote_code)
    check_files_if_any(pretrained, revision)
    size = weight_size(pretrained, revision)
    files = {"resolved": resolve(pretrained), "weights_bytes": size.total_bytes if size else None}
    return _report({"model": pretrained, **files}, config, description, model, scenario)


def inspect_config(config: PretrainedConfig, scenario: Scenario | None = None) -> ModelReport:
    """Return the report on the model of a configuration that was read already.

    The size of its files is not known. Its own code may run again, where it has such code.
    """
    description = describe(config)
    trusts = bool(getattr(config, "auto_map", None))
    model = built_parts(config, description, trust_remote_code=trusts)
    name = getattr(config, "name_or_path", None) or description.model_type
    named = {"model": name, "resolved": name, "weights_bytes": None}
    return _report(named, config, description, model, scenario or Scenario())


def _report(
    named: Mapping[str, Any],
    config: PretrainedConfig,
    description: MoEDescription,
    model: ModelParts,
    scenario: Scenario,
) -> ModelReport:
    return ModelReport(
        schema_version=SCHEMA_VERSION,
        **named,
        n_layers=getattr(config.get_text_config(), "num_hidden_layers", None),
        dtype=_dtype(config),
        quantisation=quantisation_method(config),
        context_length=scenario.context_length,
        **described(description),
        **_counted(model),
        **_memory(model, config, scenario),
        **_shares(model, description, scenario),
        **_image(model, config),
        costs=_costs(model, description, scenario, _width(config, scenario)),
    )


def described(description: MoEDescription) -> dict[str, Any]:
    """Return the fields of a report that the description of the experts fills."""
    routed, shared = description.num_experts_per_tok, description.num_shared_experts
    renormalisation = {True: "always", False: "never", None: "unknown"}
    return {
        "model_type": description.model_type,
        "is_moe": description.is_moe,
        "num_experts": description.num_experts,
        "num_shared_experts": shared,
        "num_zero_experts": description.num_zero_experts,
        "zero_expert_kinds": dict(Counter(description.zero_expert_kinds)),
        "min_num_experts_per_tok": description.min_num_experts_per_tok,
        "max_num_experts_per_tok": description.max_num_experts_per_tok,
        "baseline_num_experts_per_tok": routed,
        "total_num_experts_per_tok": routed + shared,
        "renormalisation": renormalisation[description.norm_topk_prob],
        "fixed_k_reason": description.fixed_k_reason,
        "warnings": description.warnings,
    }


def _counted(model: ModelParts) -> dict[str, Any]:
    counts = model.counts
    return {
        "n_moe_layers": _n_moe_layers(counts.layers) if counts else None,
        "total_parameters": counts.total if counts else None,
        "routed_parameters": counts.routed if counts else None,
        "parameters_unknown_reason": model.counts_unknown_reason,
        "layers": model.architecture.layers if model.architecture else (),
        "expert_modules": counts.layers if counts else (),
    }


def _n_moe_layers(layers: Sequence[RoutedParameters]) -> int:
    """Return the number of decoder layers with experts; a layer may have several modules."""
    return len({_decoder_layer(layer.path) for layer in layers})


def _decoder_layer(path: str) -> str:
    parts = path.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts))
    return ".".join(parts[: number + 1])


def _memory(model: ModelParts, config: PretrainedConfig, scenario: Scenario) -> dict[str, Any]:
    width = _width(config, scenario)
    n, cost, counts = scenario.context_length, model.cost, model.counts
    return {
        "memory_dtype": scenario.dtype or _dtype(config),
        "weights_memory_bytes": counts.total * width if counts and width else None,
        "kv_cache_bytes_per_token": cost.cached_numbers(1) * width if cost and width else None,
        "kv_cache_bytes_per_sequence": cost.cached_numbers(n) * width if cost and width else None,
    }


def _shares(model: ModelParts, description: MoEDescription, scenario: Scenario) -> dict[str, Any]:
    n, k = scenario.context_length, description.num_experts_per_tok
    cost = model.cost if k > 0 else None
    return {
        "routed_flop_share": cost.prefill_flops(k, n).routed_flop_share if cost else None,
        "decode_routed_flop_share": cost.decode_flops(k, n).routed_flop_share if cost else None,
        "cost_unknown_reason": model.cost_unknown_reason,
    }


def _image(model: ModelParts, config: PretrainedConfig) -> dict[str, Any]:
    parameters = model.architecture.image_matrix_parameters if model.architecture else None
    per_patch = None if parameters is None else 2 * parameters
    patches = _patches(getattr(config, "vision_config", None))
    return {
        "image_flops_per_patch": per_patch,
        "image_flops_per_image": per_patch * patches if per_patch and patches else None,
    }


def _patches(vision: PretrainedConfig | None) -> int | None:
    """Return the patches of an image, where all images have one size, else ``None``."""
    size, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    if isinstance(size, int) and isinstance(patch, int):
        return int((size // patch) ** 2)
    return None


def _costs(
    model: ModelParts, description: MoEDescription, scenario: Scenario, width: int | None
) -> tuple[CostAtK, ...]:
    baseline = description.num_experts_per_tok
    if model.counts is None or not model.counts.layers or baseline == 0:
        return ()
    if description.fixed_k_reason is not None:
        ks = [baseline]
    else:
        possible = range(
            description.min_num_experts_per_tok, description.max_num_experts_per_tok + 1
        )
        ks = [k for k in k_values(baseline, possible[-1]) if k in possible]
    return costs_at_k(model.counts, model.cost, ks, baseline, scenario, width)


def _dtype(config: PretrainedConfig) -> str | None:
    return str(config.dtype).removeprefix("torch.") if config.dtype else None


def _width(config: PretrainedConfig, scenario: Scenario) -> int | None:
    return dtype_bytes(scenario.dtype or _dtype(config))
