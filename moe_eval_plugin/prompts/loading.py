"""Load the tasks and then the model of a request, whichever host asks."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.errors import NotAnMoEError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.hosts.harness import Harness
    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.prompts.request import PromptRequest

TEXT, WITH_IMAGES = "moe_hf", "moe_hf-multimodal"


class ClassOfModels(Protocol):
    """Imports and returns the class of models for a host, and for images in lm-eval."""

    def __call__(self, host: str, *, takes_images: bool) -> Any:  # noqa: ANN401  (one of three)
        """Return the class; of lmms-eval there is one, and ``takes_images`` is false."""


@dataclass(frozen=True)
class LoadedRequest:
    """The loaded tasks of a request, and what its model is loaded from; no weight was read."""

    request: PromptRequest
    tasks: LoadedTasks
    config: ModelConfig
    """The configuration of the model, which has experts."""
    arguments: Mapping[str, Any]
    """Arguments of the host's model."""
    takes_images: bool
    """Whether the model of lm-eval is the one for images."""

    @contextmanager
    def model(self, class_of: ClassOfModels, progress: Progress) -> Iterator[Any]:
        """Load the model, whose own k is restored after the block.

        Raises what the engine raises.
        """
        progress.doing("loading the weights")
        found = class_of(self.request.host, takes_images=self.takes_images)
        if self.request.is_lm_eval:
            model = found.create_from_arg_obj(dict(self.arguments))
        else:
            model = found(None, **self.arguments)
        try:
            yield model
        finally:
            model.close()


def load_request(
    request: PromptRequest, host: Harness, progress: Progress, what: str = "it has no routers"
) -> LoadedRequest:
    """Read the configuration of the model and load the tasks.

    Raises ``NotAnMoEError`` for a dense model, of which ``what`` is said, and what the host raises.
    """
    model_args = host.join_texts(
        [host.write_arguments(request.named_arguments()), request.model_args]
    )
    arguments = host.read_arguments(model_args, _of_the_host(request))
    progress.doing("reading the model's configuration")
    config = _config(request, arguments)
    if not config.description.is_moe:
        message = (
            f"{request.pretrained} is a dense model ({config.description.model_type}): {what}. "
            "Name a model with experts."
        )
        raise NotAnMoEError(message)
    takes_images = request.is_lm_eval and _needs_images(config)
    progress.doing("loading the tasks")
    run = request.run(WITH_IMAGES if takes_images else TEXT)
    tasks = host.load_tasks(replace(run, model_args=model_args))
    return LoadedRequest(request, tasks, config, arguments, takes_images)


def _of_the_host(request: PromptRequest) -> dict[str, Any]:
    # What lm-eval puts together is not put to the model.
    size = 1 if request.is_lm_eval else request.batch_size
    return {"batch_size": size, "device": request.device}


def _config(request: PromptRequest, arguments: Mapping[str, Any]) -> ModelConfig:
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
