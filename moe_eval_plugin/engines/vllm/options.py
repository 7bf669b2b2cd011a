"""Options of a vLLM engine, and everything that can be checked before it starts."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from moe_eval_plugin.engines.chat_template import TemplateOptions
from moe_eval_plugin.engines.checks.vllm_config import register_configuration
from moe_eval_plugin.engines.expert_request import check_request
from moe_eval_plugin.engines.option_checks import MODEL_READERS, check_pixels
from moe_eval_plugin.engines.vllm.set_k import EVERY_LAYER, KEY
from moe_eval_plugin.errors import (
    InvalidArgumentError,
    InvalidExpertCountError,
    MissingDependencyError,
    UnsupportedFamilyError,
)
from moe_eval_plugin.models.families import K_KEYS, family_of
from moe_eval_plugin.option_values import (
    one_of,
    read_bool,
    read_fields,
    read_float,
    read_int,
    read_json,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.engines.expert_request import ExpertRequest, ModelConfig
    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule

VERIFICATIONS = ("observe", "config")
FIXED_IN_VLLM = {
    "llama4": "vLLM's Llama 4 routes each token to exactly one expert, and asserts k=1",
    "phimoe": "vLLM's PhiMoE routes to two experts, by a rule that knows no other number",
}
# Ours to set: users name the model by pretrained, and our own parts need the others.
OWNED = ("model", "worker_extension_cls", "disable_log_stats")
# Caches of vLLM. Without them each question pays for its own prompt and image, as users' do.
CACHES_OFF = {"enable_prefix_caching": False, "mm_processor_cache_gb": 0}


@dataclass(frozen=True)
class VLLMOptions(TemplateOptions):
    """How an engine is started."""

    pretrained: str
    """The model: ``demo``, a folder, or a model id of the Hub; default: ``$MOE_EVAL_PRETRAINED``,
    else ``Qwen/Qwen3-VL-30B-A3B-Instruct``."""
    revision: str | None = None
    """Branch, tag or commit of a model on the Hub; default: the main branch."""
    experts_k: object = None
    """Routed experts per token: a number, or a schedule by layer such as ``0-11:8/12-47:4``;
    default: the published k."""
    verify: str = "observe"
    """How k is verified: ``observe`` counts the experts that tokens use, ``config`` checks only the
    k that routers and kernels hold, for kernels that hide which experts they choose; default:
    ``observe``."""
    trust_remote_code: bool = False
    """``true`` allows Python code that comes with the checkpoint to run; default: ``false``."""
    min_pixels: int | None = None
    """Smallest size of an image in pixels, if the model's image processor has such limits; default:
    the processor's own."""
    max_pixels: int | None = None
    """Largest size of an image in pixels, if the model's image processor has such limits; default:
    the processor's own."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """Arguments for the chat template, as a JSON object: ``{"enable_thinking": false}``; default:
    none."""
    enable_thinking: bool | None = None
    """``false`` asks a thinking model to answer without thinking, if its chat template supports
    this. It sets ``enable_thinking`` in ``chat_template_kwargs``; default: the template's own."""
    share_images: str = "auto"
    """Whether vLLM keeps images and beginnings of prompts for later questions: ``auto`` where it
    can for the model, ``no`` so that each question pays for its own; default: ``auto``."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Engine arguments of vLLM by name, passed on as they are."""

    # vLLM's kernels use every expert that its router chose.
    experts_policy: ClassVar[None] = None
    renorm: ClassVar[None] = None

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        readers = {"verify": one_of(*VERIFICATIONS), "share_images": one_of("auto", "no")}
        read_fields(self, {**MODEL_READERS, **readers})
        check_pixels(self.min_pixels, self.max_pixels)
        _check_parallel(self.engine)
        _check_caches(self.engine, self.share_images)
        _ = self.template_arguments
        _check_overrides(self.overrides, self.experts_k)

    @property
    def overrides(self) -> dict[str, Any]:
        """The changes of the model's configuration that the user wrote."""
        return _as_dict("hf_overrides", self.engine.get("hf_overrides"))


def check_vllm_request(options: VLLMOptions, model: ModelConfig | None = None) -> ExpertRequest:
    """Check everything that a configuration can tell about k, before vLLM is started.

    Raises what ``check_request`` raises, and ``UnsupportedFamilyError`` or
    ``InvalidExpertCountError`` for a k that vLLM cannot run.
    """
    if model is None:
        register_configuration(options)
    request = check_request(options, model)
    if request.resolved is not None:
        _raise_if_fixed_in_vllm(request.description)
        _raise_if_differs_by_token(request.resolved)
    return request


def k_by_layer(request: ExpertRequest) -> dict[str, int] | None:
    """Build the table of k that our plugin in vLLM reads; ``None`` for a model as published."""
    resolved = request.resolved
    if resolved is None:
        return None
    k = resolved.num_experts_per_tok
    if k is not None:
        return {EVERY_LAYER: k}
    return {str(n): resolved.k_of(n, "text", "prefill") for n in request.model.moe_layers}


def engine_arguments(options: VLLMOptions, request: ExpertRequest, source: str) -> dict[str, Any]:
    """Build the arguments of ``vllm.LLM``; ``source`` is the folder or hub id of the model."""
    pixels = {"min_pixels": options.min_pixels, "max_pixels": options.max_pixels}
    processor = {name: value for name, value in pixels.items() if value is not None}
    processor |= _as_dict("mm_processor_kwargs", options.engine.get("mm_processor_kwargs"))
    overrides = dict(options.overrides)
    table = k_by_layer(request)
    if table is not None:
        overrides[KEY] = table
    arguments = {
        **(CACHES_OFF if options.share_images == "no" else {}),
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


def read_engine_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return engine arguments with the types that vLLM wants; ``given`` are known to it.

    Text is read as by ``vllm serve --NAME VALUE``, a yes or no by ``read_bool``. Values of other
    types are kept, unless vLLM wants a yes or no. Raises ``InvalidArgumentError`` for a value that
    vLLM does not accept.
    """
    actions = _actions()
    return {
        name: _read(name, value, actions[name]) if name in actions else value
        for name, value in given.items()
    }


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


def _check_caches(engine: Mapping[str, Any], share_images: str) -> None:
    if share_images == "no" and (on := [name for name in CACHES_OFF if engine.get(name)]):
        message = (
            f"{on[0]}={engine[on[0]]} is not possible with share_images=no, which turns the caches "
            "of vLLM off. Leave one of them out."
        )
        raise InvalidArgumentError(message)


def _check_overrides(overrides: Mapping[str, Any], experts_k: object) -> None:
    """Refuse a k in ``hf_overrides``: vLLM ignores it at a wrong level."""
    for path, value in _leaves(overrides):
        name = path.rpartition(".")[2]
        if name in K_KEYS or name == KEY:
            message = (
                f"{path}={value} in hf_overrides is refused: vLLM silently ignores a k under a "
                "key or at a level that a model does not read, without a warning. Write "
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
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        message = f'{name}={value} is not possible. Write a JSON object: {name}={{"key": value}}.'
        raise InvalidArgumentError(message)
    return parsed


def _parsed(name: str, value: object) -> Any:  # noqa: ANN401  (whatever the JSON text says)
    """Read an argument that is written as JSON."""
    is_json = isinstance(value, str) and value.startswith(("{", "["))
    return read_json(name, str(value)) if is_json else value


def _read(name: str, value: Any, action: argparse.Action) -> Any:  # noqa: ANN401  (of any type)
    # An action without values is a switch: --enforce-eager.
    if action.nargs == 0:
        return read_bool(name, value)
    if not isinstance(value, str):
        return value
    if value.startswith(("{", "[")):
        return read_json(name, value)
    if action.type in (int, float):
        return read_int(name, value) if action.type is int else read_float(name, value)
    read = action.type if callable(action.type) else str
    try:
        found = read(value)
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise refusal(name, value, f"vLLM does not accept it: {reason}") from error
    if action.choices is not None and found not in action.choices:
        allowed = ", ".join(str(choice) for choice in action.choices if choice is not None)
        message = f"{name}={value} is not known. Use one of: {allowed}."
        raise InvalidArgumentError(message)
    return [found] if action.nargs in {"+", "*"} else found


@cache
def _actions() -> dict[str, argparse.Action]:
    """Return the options of vLLM's command line by the names of the engine arguments."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    return {action.dest: action for action in parser._actions}  # noqa: SLF001  (argparse has no other list)
