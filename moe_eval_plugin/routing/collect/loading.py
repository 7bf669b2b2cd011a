"""Load the tasks and the model of a routing request, whichever host asks."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.errors import NotAnMoEError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.hosts.harness import Harness
    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.routing.collect.recording_model import RecordingModel
    from moe_eval_plugin.routing.collect.request import RoutingRequest
    from moe_eval_plugin.routing.progress import Progress

TEXT, WITH_IMAGES = "moe_hf", "moe_hf-multimodal"


@contextmanager
def loaded(
    request: RoutingRequest, host: Harness, progress: Progress
) -> Iterator[tuple[LoadedTasks, RecordingModel]]:
    """Load the tasks, then the model, whose own k is restored after the block.

    Raises ``NotAnMoEError`` for a dense model, before its weights are read, and what the host and
    the engine raise.
    """
    model_args = _model_args(request, host)
    arguments = host.read_arguments(model_args, _of_the_host(request))
    progress.doing("reading the model's configuration")
    config = _config(request, arguments)
    if not config.description.is_moe:
        message = (
            f"{request.pretrained} is a dense model ({config.description.model_type}): it has no "
            "routers. Name a model with experts."
        )
        raise NotAnMoEError(message)
    takes_images = request.is_lm_eval and _needs_images(config)
    progress.doing("loading the tasks")
    run = request.run(WITH_IMAGES if takes_images else TEXT)
    tasks = host.load_tasks(replace(run, model_args=model_args))
    progress.doing("loading the weights")
    model = _load(request, arguments, takes_images=takes_images)
    try:
        yield tasks, model
    finally:
        model.close()


def _model_args(request: RoutingRequest, host: Harness) -> str:
    """Return the arguments of the model as text."""
    named = {"pretrained": request.pretrained}
    if request.experts_k is not None:
        named["experts_k"] = request.experts_k
    return host.join_texts([host.write_arguments(named), request.model_args])


def _of_the_host(request: RoutingRequest) -> dict[str, Any]:
    # What lm-eval puts together is not put to the model.
    size = 1 if request.is_lm_eval else request.batch_size
    return {"batch_size": size, "device": request.device}


def _config(request: RoutingRequest, arguments: dict[str, Any]) -> ModelConfig:
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.option_values import read_bool

    revision, trusts = arguments.get("revision"), arguments.get("trust_remote_code")
    options = EngineOptions(
        request.pretrained,
        revision=None if revision is None else str(revision),
        trust_remote_code=trusts is not None and read_bool("trust_remote_code", trusts),
    )
    return ModelConfig.load(options)


def _needs_images(config: ModelConfig) -> bool:
    """Whether transformers loads a model with its image tower alone."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    kind = type(config.config)
    return kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and kind not in MODEL_FOR_CAUSAL_LM_MAPPING


def _load(
    request: RoutingRequest, arguments: dict[str, Any], *, takes_images: bool
) -> RecordingModel:
    if request.is_lm_eval:
        from moe_eval_plugin.routing.collect import lm_eval_model

        kind = lm_eval_model.RecordingMultimodalLM if takes_images else lm_eval_model.RecordingLM
        return kind.create_from_arg_obj(arguments)
    from moe_eval_plugin.routing.collect.lmms_eval_model import RecordingMoEHF

    return RecordingMoEHF(None, **arguments)
