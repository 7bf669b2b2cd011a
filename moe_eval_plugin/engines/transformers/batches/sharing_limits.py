"""Reasons why prompts of a model cannot share what they begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.transformers.shared.prefix import has_plain_cache
from moe_eval_plugin.experts.schedules.routing_rule import UNIFORM
from moe_eval_plugin.models.releases.names import forward_arguments, is_own_code
from moe_eval_plugin.override.policies import moe_eval_register_policies

if TYPE_CHECKING:
    from moe_eval_plugin.engines.generation import GenerationSettings
    from moe_eval_plugin.engines.transformers.engine import HFEngine

# How these two see the pads between a prefix and a suffix was tried.
ATTENTION = ("eager", "sdpa")
POSITIONS = "_prepare_position_ids_for_generation"


def reason_of_model(engine: HFEngine) -> str | None:
    """Return why no questions of a model can share their images; ``None`` if they can."""
    if not engine.takes_images:
        return "the model reads text only"
    return reason_of_policy(engine.request.rule.policy) or reason_of_code(engine.model)


def reason_of_policy(policy: str) -> str | None:
    """Return why no prompts can share a beginning with this policy; ``None`` if they can."""
    if policy in {UNIFORM, *(one.name for one in moe_eval_register_policies())}:
        return None
    return f"the policy {policy} of a plugin may depend on which tokens are computed together"


def reason_of_code(model: Any) -> str | None:  # noqa: ANN401
    """Return why the code of a model cannot continue from a prefix; ``None`` if it may."""
    name = type(model).__name__
    if is_own_code(type(model)):
        return f"{name} is code that comes with the checkpoint"
    if model.config.is_encoder_decoder:
        return f"{name} has an encoder before its decoder"
    if "position_ids" not in set(forward_arguments(type(model))) or not hasattr(model, POSITIONS):
        return f"{name} does not take the positions of its tokens"
    attention = model.config._attn_implementation  # noqa: SLF001  (it has no other name)
    if attention not in ATTENTION:
        return f"it was not tried with attn_implementation={attention}"
    if not model._supports_default_dynamic_cache() or not has_plain_cache(model):  # noqa: SLF001
        return (
            "some layers keep something else than the keys and values of all tokens, as those with "
            "a sliding window or linear attention do"
        )
    return None


def reason_of_settings(settings: GenerationSettings) -> str | None:
    """Return why questions that are answered with these settings share nothing."""
    if settings.samples:
        return "its answers are sampled, and which ones are drawn depends on the batches"
    for name, neutral in (("num_beams", 1), ("no_repeat_ngram_size", 0)):
        value = settings.arguments.get(name)
        if value is not None and value != neutral:
            return f"it was not tried with {name}={value}"
    return None
