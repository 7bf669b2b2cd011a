"""MoE families as data: where a configuration keeps k, and what the router does with it.

A configuration alone is enough here: nothing is loaded and torch is not imported. One generic
rule reads every family, the unknown ones too, because the observation decides in the end whether
an override worked. The table holds only what a configuration does not say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moe_eval_plugin.errors import UnsupportedFamilyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PretrainedConfig

Renormalisation = Literal["always", "never", "norm_topk_prob", "unknown"]

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


@dataclass(frozen=True)
class Family:
    """What the configuration of a family does not say about its routers.

    ``renormalise`` tells whether the chosen weights are divided by their sum: always, never, or
    as ``norm_topk_prob`` says. ``fixed_k_reason`` is set where the router cannot use another k.
    """

    model_type: str
    renormalise: Renormalisation
    fixed_k_reason: str | None = None


FAMILIES = (
    Family("qwen3_vl_moe", "always"),
    Family("qwen3_5_moe", "always"),
    Family("qwen2_moe", "norm_topk_prob"),
    Family("qwen3_moe", "norm_topk_prob"),
    Family("qwen3_next", "norm_topk_prob"),
    Family("olmoe", "norm_topk_prob"),
    Family("mixtral", "always"),
    Family("granitemoe", "always"),
    Family("gpt_oss", "always"),
    Family("deepseek_v2", "never"),
    Family("deepseek_v3", "norm_topk_prob"),
    Family("jamba", "never"),
    Family("llama4", "never"),
    Family("longcat_flash", "never"),
    Family("phimoe", "unknown", "its router takes two arg-max rounds and ignores k"),
    Family("zaya", "unknown", "it is defined for one expert per token only"),
    Family("switch_transformers", "unknown", "its router takes the single best expert, always"),
    Family("nllb-moe", "unknown", "its router takes the best two experts, always"),
)


@dataclass(frozen=True)
class MoEDescription:
    """The experts of a model, as its configuration states them.

    ``num_experts_per_tok`` counts routed experts, as published (the baseline); shared experts
    are counted apart in ``num_shared_experts``, and experts that compute nothing in
    ``num_zero_experts``. ``norm_topk_prob`` is ``None`` where it is not known whether the chosen
    weights are renormalised. A dense model has ``is_moe`` false and counts of 0.
    """

    model_type: str
    is_moe: bool
    num_experts: int
    num_experts_per_tok: int
    num_shared_experts: int
    num_zero_experts: int
    norm_topk_prob: bool | None
    fixed_k_reason: str | None = None

    def raise_if_fixed(self) -> None:
        """Raise ``UnsupportedFamilyError`` where the router cannot use another k."""
        if self.fixed_k_reason is not None:
            message = (
                f"experts_k cannot be set for {self.model_type}: {self.fixed_k_reason}. "
                f"Leave experts_k out to run the model with its k of {self.num_experts_per_tok}."
            )
            raise UnsupportedFamilyError(message)


def describe(config: PretrainedConfig) -> MoEDescription:
    """Read the experts of a model from its configuration alone.

    The text part of a composite configuration is searched first, then the whole, then its other
    parts; the first one that names both k and the number of experts is taken.
    """
    for part in _parts(config):
        num_experts = _first_count(part, NUM_EXPERTS_KEYS)
        k = _first_count(part, K_KEYS)
        if num_experts > 1 and k > 0:
            return _describe_part(str(config.model_type), part, num_experts, k)
    family = family_of((str(config.model_type),))
    return MoEDescription(
        model_type=str(config.model_type),
        is_moe=family is not None and family.fixed_k_reason is not None,
        num_experts=0,
        num_experts_per_tok=0,
        num_shared_experts=0,
        num_zero_experts=0,
        norm_topk_prob=None,
        fixed_k_reason=family.fixed_k_reason if family else None,
    )


def family_of(model_types: Iterable[str]) -> Family | None:
    """Find the entry for the first of some model types that the table knows.

    The text part of a composite model carries its family's name with ``_text`` behind it.
    """
    table = {family.model_type: family for family in FAMILIES}
    for model_type in model_types:
        family = table.get(model_type) or table.get(model_type.removesuffix("_text"))
        if family is not None:
            return family
    return None


def _describe_part(
    model_type: str, part: PretrainedConfig, num_experts: int, k: int
) -> MoEDescription:
    family = family_of((str(part.model_type), model_type))
    shared = _first_count(part, SHARED_EXPERTS_KEYS)
    if shared == 0 and _first_count(part, SINGLE_SHARED_EXPERT_KEYS) > 0:
        shared = 1
    return MoEDescription(
        model_type=model_type,
        is_moe=True,
        num_experts=num_experts,
        num_experts_per_tok=k,
        num_shared_experts=shared,
        num_zero_experts=_first_count(part, ZERO_EXPERTS_KEYS),
        norm_topk_prob=_renormalises(family, part),
        fixed_k_reason=family.fixed_k_reason if family else None,
    )


def _renormalises(family: Family | None, part: PretrainedConfig) -> bool | None:
    rule = family.renormalise if family else "norm_topk_prob"
    if rule == "norm_topk_prob":
        value = getattr(part, "norm_topk_prob", None)
        return value if isinstance(value, bool) else None
    return {"always": True, "never": False}.get(rule)


def _parts(config: PretrainedConfig) -> list[PretrainedConfig]:
    """List the text part, the whole, and the other parts of a configuration, in that order."""
    nested = [value for value in vars(config).values() if hasattr(value, "model_type")]
    return [config.get_text_config(), config, *nested]


def _first_count(part: PretrainedConfig, keys: tuple[str, ...]) -> int:
    """Return the first of some values that is a count; a per-layer list counts as its largest."""
    for key in keys:
        value = getattr(part, key, None)
        if isinstance(value, list | tuple) and value and all(isinstance(v, int) for v in value):
            return int(max(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return 0
