"""Read the experts of a model from its configuration, with a table of MoE families.

A configuration alone is enough: nothing is loaded and torch is not imported. One generic rule
reads every family, unknown ones too, because the observation decides in the end whether an
override worked. The table, ``families.json``, holds what a configuration does not state. It is
registered through the hook ``moe_eval_register_families``, as the families of third parties are.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidExpertCountError, PluginLoadError
from moe_eval_plugin.experts.description import MoEDescription
from moe_eval_plugin.plugins.family import Family, Proof
from moe_eval_plugin.plugins.hookspecs import hookimpl
from moe_eval_plugin.plugins.manager import plugin_manager, registered_families

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PretrainedConfig

    from moe_eval_plugin.plugins.family import Renormalisation

K_KEYS = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "top_k_experts",
)
NUM_EXPERTS_KEYS = (
    "num_experts",
    "n_routed_experts",
    "num_local_experts",
    "moe_num_experts",
)
SHARED_EXPERTS_KEYS = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
SINGLE_SHARED_EXPERT_KEYS = ("shared_expert_intermediate_size", "shared_intermediate_size")
ZERO_EXPERTS_KEYS = ("zero_expert_num",)
UNGROUPED_METHOD = "greedy"


@hookimpl
def moe_eval_register_families() -> list[Family]:
    """List the families that come with this package."""
    table = json.loads(Path(__file__).with_name("families.json").read_text("utf-8"))
    return [
        _family(table["routers"].get(entry.pop("router", ""), {}), entry)
        for entry in table["families"]
    ]


@cache
def table() -> dict[str, Family]:
    """Return every registered family, built-in and third-party, by model type.

    Raises ``PluginLoadError`` for a plugin that cannot be loaded or used, and for a family that
    two of them register.
    """
    return {family.model_type: family for family in _by_name().values()}


def family_of(model_types: Iterable[str]) -> Family | None:
    """Return the family of the first model type that the table has; ``None`` if it has none.

    The model type of the text part of a composite model is that of its family plus ``_text``.
    """
    families = _by_name()
    for model_type in model_types:
        family = families.get(model_type) or families.get(model_type.removesuffix("_text"))
        if family is not None:
            return family
    return None


def describe(config: PretrainedConfig) -> MoEDescription:
    """Return the description of a model's experts, from its configuration alone.

    It is read from the part of the configuration that ``moe_part`` returns. A model without such
    a part is dense. Raises ``InvalidExpertCountError`` where the configuration states a k that its
    experts do not allow.
    """
    found = _find_experts(config)
    if found is not None:
        return found[1]
    return MoEDescription(
        model_type=str(config.model_type),
        is_moe=False,
        num_experts=0,
        num_experts_per_tok=0,
        num_shared_experts=0,
        num_zero_experts=0,
        norm_topk_prob=None,
        unknown_k_of=_experts_without_k(config),
    )


def moe_part(config: PretrainedConfig) -> PretrainedConfig | None:
    """Return the part of a configuration that holds k and the number of experts, or ``None``.

    The table defines which part it is. For a model type that is not in the table the text part is
    tried first, then the whole, then the other parts.
    """
    found = _find_experts(config)
    return found[0] if found else None


def nested_configs(config: PretrainedConfig) -> list[PretrainedConfig]:
    """List the configurations that a configuration holds as attributes."""
    return [value for value in vars(config).values() if hasattr(value, "model_type")]


def _find_experts(config: PretrainedConfig) -> tuple[PretrainedConfig, MoEDescription] | None:
    for family, part in _candidate_parts(config):
        description = _describe_part(str(config.model_type), family, part)
        if description is not None:
            return part, description
    return None


def _experts_without_k(config: PretrainedConfig) -> int:
    """Return the experts of a configuration that states no k, under any known name; 0 if none."""
    counts = (
        max(_counts(part, (family.num_experts_key if family else "", *NUM_EXPERTS_KEYS)))
        for family, part in _candidate_parts(config)
        if not (family and family.enabled_key and not getattr(part, family.enabled_key, True))
    )
    return next((count for count in counts if count > 1), 0)


@cache
def _by_name() -> dict[str, Family]:
    if not plugin_manager().has_plugin("families"):
        message = (
            "The families of moe-eval-plugin are not registered, because its installed metadata is "
            "older than its code. Install it again, for example with: pip install -e ."
        )
        raise PluginLoadError(message)
    return registered_families()


def _family(router: dict[str, Any], entry: dict[str, Any]) -> Family:
    values: dict[str, Any] = {**router, **entry, "proof": Proof(entry["proof"])}
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Family(**{**values, **lists})


def _candidate_parts(
    config: PretrainedConfig,
) -> list[tuple[Family | None, PretrainedConfig]]:
    """List the parts of a configuration that may hold k, each with its family, best first."""
    whole = family_of((str(config.model_type),))
    named = _part_at(config, whole.config_part) if whole else None
    if named is not None:
        # Only this one: another part, an image tower for instance, may have experts of its own.
        return [(whole, named)]
    candidates = []
    for part in (_text_part(config), config, *nested_configs(config)):
        family = family_of((str(part.model_type),)) or whole
        named = _part_at(part, family.config_part) if family else None
        candidates.append((family, named or part))
    return candidates


def _text_part(config: PretrainedConfig) -> PretrainedConfig:
    try:
        return config.get_text_config()
    except ValueError:
        # There are two text parts, the text encoder and the decoder of a music model for instance.
        return config


def _part_at(config: PretrainedConfig, path: str) -> PretrainedConfig | None:
    part: Any = config
    for name in path.split(".") if path else ():
        part = getattr(part, name, None)
    return part if hasattr(part, "model_type") else None


def _describe_part(
    model_type: str, family: Family | None, part: PretrainedConfig
) -> MoEDescription | None:
    """Return the description of the experts in a part of a configuration; ``None`` without any."""
    known = family or Family(model_type=model_type, renormalise="norm_topk_prob", has_groups=True)
    counts = _counts(part, (known.num_experts_key, *NUM_EXPERTS_KEYS))
    k = known.num_experts_per_tok_in_code or max(_counts(part, (known.k_key or "", *K_KEYS)))
    is_enabled = known.enabled_key is None or bool(getattr(part, known.enabled_key, True))
    if max(counts) <= 1 or not is_enabled:
        return None
    num_zero_experts = known.num_zero_experts_included or max(
        _counts(part, (known.zero_experts_key or "", *ZERO_EXPERTS_KEYS))
    )
    num_experts = max(counts) - known.num_zero_experts_included
    _check_stated_k(model_type, known, part, num_experts + num_zero_experts)
    if k <= 0:
        return None
    return MoEDescription(
        model_type=model_type,
        is_moe=True,
        num_experts=num_experts,
        num_experts_per_tok=k,
        num_shared_experts=_shared_experts(known, part),
        num_zero_experts=num_zero_experts,
        norm_topk_prob=_renormalises(known.renormalise, part),
        fixed_k_reason=known.fixed_k_reason,
        family=family.model_type if family else None,
        warnings=known.warnings,
        min_num_experts_per_tok=known.min_num_experts_per_tok,
        min_num_experts_per_tok_reason=known.min_num_experts_per_tok_reason,
        computes_all_experts=known.computes_all_experts,
        zero_expert_kinds=known.kinds_of(num_zero_experts),
        max_num_experts_per_tok=_reachable(
            min(n for n in counts if n > 1) - known.num_zero_experts_included,
            part,
            has_groups=known.has_groups,
        ),
    )


def _check_stated_k(
    model_type: str, family: Family, part: PretrainedConfig, num_experts: int
) -> None:
    """Raise ``InvalidExpertCountError`` unless the stated k is 1 to the number of experts.

    A list has a k for each layer, and 0 for a layer without experts. A family whose code sets k
    has no key for it.
    """
    keys = (family.k_key, *K_KEYS)
    key = next((key for key in keys if key and _value(part, key) is not None), None)
    if key is None or family.num_experts_per_tok_in_code is not None:
        return
    value = _value(part, key)
    values = value if isinstance(value, list | tuple) else (value,)
    are_counts = all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values)
    if are_counts and 1 <= max(values, default=0) <= num_experts:
        return
    message = (
        f"The configuration of {model_type} states {key}={json.dumps(value, default=str)}, and its "
        f"routers choose among {num_experts} experts. Correct it in config.json: 1 to "
        f"{num_experts}, as the published file of this model has it."
    )
    raise InvalidExpertCountError(message)


def _shared_experts(family: Family, part: PretrainedConfig) -> int:
    if family.num_shared_experts is not None:
        return family.num_shared_experts
    single = SINGLE_SHARED_EXPERT_KEYS
    counting = tuple(
        key
        for key in (family.shared_experts_key, *SHARED_EXPERTS_KEYS)
        if key and key not in single
    )
    return max(_counts(part, counting)) or int(max(_counts(part, single)) > 0)


def _reachable(num_experts: int, part: PretrainedConfig, *, has_groups: bool) -> int:
    """Return the number of experts that one token can choose from."""
    n_group, topk_group = max(_counts(part, ("n_group",))), max(_counts(part, ("topk_group",)))
    is_ungrouped = getattr(part, "topk_method", None) == UNGROUPED_METHOD
    if not has_groups or is_ungrouped or n_group <= 1 or topk_group == 0:
        return num_experts
    return topk_group * num_experts // n_group


def _renormalises(rule: Renormalisation, part: PretrainedConfig) -> bool | None:
    if rule == "expert_selection_fn":
        rule = "norm_topk_prob" if getattr(part, rule, None) == "sigmoid" else "by_construction"
    if rule == "norm_topk_prob":
        flag = getattr(part, rule, None)
        return flag if isinstance(flag, bool) else None
    if rule == "moe_normalize_expert_weights":
        # The power of the norm that the weights are divided by; only the first is their sum.
        return {None: False, 1: True}.get(getattr(part, rule, None))
    return {"always": True, "by_construction": True, "never": False}.get(rule)


def _counts(part: PretrainedConfig, keys: tuple[str, ...]) -> tuple[int, ...]:
    """Return the first value that is a count, or the counts of all layers; ``(0,)`` if none."""
    for key in keys:
        value = _value(part, key)
        values = value if isinstance(value, list | tuple) else (value,)
        counts = tuple(v for v in values if isinstance(v, int) and not isinstance(v, bool))
        if counts:
            return counts
    return (0,)


def _value(part: PretrainedConfig, key: str) -> Any:  # noqa: ANN401  (a setting may be anything)
    try:
        return getattr(part, key, None)
    except RuntimeError:
        # transformers raises this for a setting that differs between layers.
        return [getattr(layer, key, None) for layer in part.per_layer_config]
