"""What is asked of vLLM, and all that can be checked before its engine starts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.set_k import EVERY_LAYER, KEY
from moe_eval_plugin.errors import (
    InvalidArgumentError,
    InvalidExpertCountError,
    MissingDependencyError,
    UnsupportedFamilyError,
)
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.schedule_parser import parse_experts_k
from moe_eval_plugin.models import checkpoint, parameters
from moe_eval_plugin.models.families import K_KEYS, describe, family_of
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.schedule import ResolvedSchedule

VERIFICATIONS = ("observe", "config")
FIXED_IN_VLLM = {
    "llama4": "vLLM's Llama 4 routes each token to exactly one expert, and asserts k=1",
    "phimoe": "vLLM's PhiMoE routes to two experts, by a rule that knows no other number",
}
# Ours to set: users name the model by pretrained, and our own parts need the others.
OWNED = ("model", "worker_extension_cls", "disable_log_stats")
ONLY_IN_MOE_HF = ("experts_policy", "renorm", "experts_implementation", "device_map")
# Each question is to pay for its own prompt and image, as users' questions do.
ENGINE_DEFAULTS = {"enable_prefix_caching": False, "mm_processor_cache_gb": 0}


@dataclass(frozen=True)
class VLLMOptions:
    """How an engine is started."""

    pretrained: str
    """``demo``, a folder, or a model id of the hub; default: ``$MOE_EVAL_PRETRAINED``, else
    ``Qwen/Qwen3-VL-30B-A3B-Instruct``."""
    revision: str | None = None
    """A branch, tag or commit of the hub; default: the main branch."""
    experts_k: object = None
    """Routed experts per token: a number, or one for each range of layers (``0-11:8/12-47:4``);
    default: the published k."""
    verify: str = "observe"
    """``observe`` counts the experts that tokens use; ``config`` checks only the k that routers and
    kernels hold, for kernels that hide the choice of experts; default: ``observe``."""
    trust_remote_code: bool = False
    """``true`` runs Python code that comes with the checkpoint; default: ``false``."""
    min_pixels: int | None = None
    """Lower limit of an image's size in pixels, where the processor has one; default: its own."""
    max_pixels: int | None = None
    """Upper limit of an image's size in pixels, where the processor has one; default: its own."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Engine arguments of vLLM by name, passed on as they are."""

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        if self.verify not in VERIFICATIONS:
            message = f"verify={self.verify} is not known. Use one of: {', '.join(VERIFICATIONS)}."
            raise InvalidArgumentError(message)
        _check_parallel(self.engine)
        _check_overrides(self.overrides, self.experts_k)

    @property
    def overrides(self) -> dict[str, Any]:
        """What the user writes over the model's configuration."""
        return _as_dict("hf_overrides", self.engine.get("hf_overrides"))


@dataclass(frozen=True)
class VLLMRequest:
    """What was asked of a model, checked against its configuration.

    ``moe_layers`` are the numbers of the decoder layers with routed experts.
    """

    config: PretrainedConfig
    description: MoEDescription
    resolved: ResolvedSchedule | None
    moe_layers: tuple[int, ...]

    @property
    def table(self) -> dict[str, int] | None:
        """K by layer, as our plugin in vLLM reads it; ``None`` for a model as published."""
        if self.resolved is None:
            return None
        k = self.resolved.num_experts_per_tok
        if k is not None:
            return {EVERY_LAYER: k}
        return {str(n): self.resolved.k_of(n, "text", "prefill") for n in self.moe_layers}


def check_request(options: VLLMOptions) -> VLLMRequest:
    """Check all that the configuration can tell, before vLLM is started.

    Raises the errors of ``checkpoint`` and ``spec``, and ``UnsupportedFamilyError`` or
    ``InvalidExpertCountError`` for what vLLM cannot do.
    """
    config = checkpoint.load_config(
        options.pretrained,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
    )
    description = describe(config)
    schedule = parse_experts_k(options.experts_k)
    if schedule is not None:
        _raise_if_fixed_in_vllm(description)
    layers: tuple[int, ...] = ()
    if description.is_moe:
        found = parameters.count_parameters(
            config, trust_remote_code=options.trust_remote_code
        ).layers
        layers = tuple(sorted({n for x in found if (n := layer_number(x.path)) is not None}))
    resolved = schedule.resolve(description, layers) if schedule else None
    if resolved is not None:
        _raise_if_differs_by_token(resolved)
    return VLLMRequest(config, description, resolved, layers)


def engine_arguments(options: VLLMOptions, request: VLLMRequest, source: str) -> dict[str, Any]:
    """Give the arguments of ``vllm.LLM``; ``source`` is the folder or hub id of the model."""
    pixels = {"min_pixels": options.min_pixels, "max_pixels": options.max_pixels}
    processor = {name: value for name, value in pixels.items() if value is not None}
    processor |= _as_dict("mm_processor_kwargs", options.engine.get("mm_processor_kwargs"))
    overrides = dict(options.overrides)
    if request.table is not None:
        overrides[KEY] = request.table
    arguments = {
        **ENGINE_DEFAULTS,
        **{name: _parsed(name, value) for name, value in options.engine.items()},
        "model": source,
        "revision": options.revision,
        "trust_remote_code": options.trust_remote_code,
        "hf_overrides": overrides,
        "mm_processor_kwargs": processor,
        "worker_extension_cls": "moe_eval_plugin.engines.vllm.worker_extension.WorkerExtension",
        "disable_log_stats": False,
    }
    return {name: value for name, value in arguments.items() if value not in (None, {})}


def engine_argument_names() -> list[str]:
    """List the arguments that this vLLM takes; ``MissingDependencyError`` without one."""
    try:
        from vllm.engine.arg_utils import EngineArgs
    except ImportError as error:
        message = (
            f"moe_vllm needs vLLM, which cannot be imported here ({error}). Install it with: "
            "pip install 'moe-eval-plugin[vllm]', or use --model moe_hf."
        )
        raise MissingDependencyError(message) from error
    return sorted({f.name for f in fields(EngineArgs)} - set(OWNED))


def check_names(given: Sequence[str], ours: Sequence[str]) -> None:
    """Raise ``InvalidArgumentError`` for an unknown name, with the nearest known one."""
    engine_names = engine_argument_names()
    for name in given:
        if name not in ours and name not in engine_names:
            raise InvalidArgumentError(_unknown(name, [*ours, *engine_names], ours))


def _unknown(name: str, known: Sequence[str], ours: Sequence[str]) -> str:
    if name in ONLY_IN_MOE_HF:
        return (
            f"{name} is not possible with moe_vllm: it changes what becomes of a router's choice, "
            "or how transformers runs it, and vLLM's kernels leave no place for that. Use --model "
            "moe_hf, or leave it out."
        )
    if name in OWNED:
        return f"{name} cannot be given: moe_vllm sets it. Name the model with pretrained=."
    return (
        f"{name} is not an argument of moe_vllm.{did_you_mean(name, known)} Known are: "
        f"{', '.join(ours)}, and all engine arguments of vLLM (`vllm serve --help=all` lists them)."
    )


def _raise_if_fixed_in_vllm(description: MoEDescription) -> None:
    family = family_of((description.model_type,))
    names = (description.model_type, family.model_type if family else "")
    reason = next((FIXED_IN_VLLM[name] for name in names if name in FIXED_IN_VLLM), None)
    if reason is not None:
        message = (
            f"experts_k cannot be set for {description.model_type} in vLLM: {reason}. Leave "
            f"experts_k out to run the model with its k of {description.num_experts_per_tok}."
        )
        raise UnsupportedFamilyError(message)


def _raise_if_differs_by_token(resolved: ResolvedSchedule) -> None:
    if resolved.differs_by_modality or resolved.differs_by_phase:
        message = (
            f"experts_k={resolved.schedule.text} is not possible with moe_vllm: a layer of vLLM "
            "routes all tokens of a step in one call, with one k. Give a number, or one for each "
            "range of layers (0-11:8/12-47:4), or use --model moe_hf."
        )
        raise InvalidExpertCountError(message)


def _check_parallel(engine: Mapping[str, Any]) -> None:
    size = engine.get("data_parallel_size")
    if size not in (None, 1):
        message = (
            f"data_parallel_size={size} is not possible: vLLM runs data parallel only behind its "
            "server or a launcher of its own, not in one evaluation process. Use "
            "tensor_parallel_size, pipeline_parallel_size and enable_expert_parallel."
        )
        raise InvalidArgumentError(message)


def _check_overrides(overrides: Mapping[str, Any], experts_k: object) -> None:
    """Refuse a k that is written into ``hf_overrides``: at a wrong place vLLM ignores it."""
    for path, value in _leaves(overrides):
        name = path.rpartition(".")[2]
        if name in K_KEYS or name == KEY:
            message = (
                f"{path}={value} in hf_overrides is refused: vLLM silently ignores a k under a "
                "key or at a level that a model does not read, and nothing would tell. Write "
                f"experts_k={value if experts_k is None else experts_k} instead: it is checked, "
                "set in every MoE layer and verified."
            )
            raise InvalidArgumentError(message)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")


def _as_dict(name: str, value: object) -> dict[str, Any]:
    parsed = _parsed(name, value)
    if parsed in (None, ""):
        return {}
    if not isinstance(parsed, dict):
        message = f'{name}={value} is not possible. Write a JSON object: {name}={{"key": value}}.'
        raise InvalidArgumentError(message)
    return parsed


def _parsed(name: str, value: object) -> Any:  # noqa: ANN401  (whatever the JSON text says)
    """Read an argument that is written as JSON."""
    if not (isinstance(value, str) and value.startswith(("{", "["))):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        message = f"{name}={value} cannot be read as JSON: {error}."
        raise InvalidArgumentError(message) from error
