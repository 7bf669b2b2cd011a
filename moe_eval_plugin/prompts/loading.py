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
class ModelSource:
    """What the model of a request is loaded from; no weight was read."""

    request: PromptRequest
    host: Harness
    config: ModelConfig
    """The configuration of the model, which has experts."""
    model_args: str
    """Arguments of the host's model, as text."""
    takes_images: bool
    """Whether the model of lm-eval is the one for images."""

    @property
    def model_name(self) -> str:
        """Name of the host's model."""
        return WITH_IMAGES if self.takes_images else TEXT

    @contextmanager
    def loaded(self, class_of: ClassOfModels, progress: Progress) -> Iterator[Any]:
        """Load the model, whose own k is restored after the block.

        Raises what the engine raises.
        """
        progress.doing("loading the weights")
        found = class_of(self.request.host, takes_images=self.takes_images)
        arguments = _arguments(self.request, self.host, self.model_args)
        if self.request.is_lm_eval:
            model = found.create_from_arg_obj(arguments)
        else:
            model = found(None, **arguments)
        try:
            yield model
        finally:
            model.close()


def read_model(
    request: PromptRequest, host: Harness, progress: Progress, lacking: str
) -> ModelSource:
    """Read the configuration of the model.

    Raises ``NotAnMoEError`` for a dense model, which is said to have no ``lacking``, and what the
    host raises for its arguments.
    """
    model_args = host.join_texts(
        [host.write_arguments(request.named_arguments()), request.model_args]
    )
    progress.doing("reading the model's configuration")
    config = _config(request, _arguments(request, host, model_args))
    if not config.description.is_moe:
        message = (
            f"{request.pretrained} is a dense model ({config.description.model_type}): it has no "
            f"{lacking}. Name a model with experts."
        )
        raise NotAnMoEError(message)
    takes_images = request.is_lm_eval and _needs_images(config)
    return ModelSource(request, host, config, model_args, takes_images)


def load_tasks(source: ModelSource, progress: Progress) -> LoadedTasks:
    """Load the tasks of a request with their data.

    Raises what the host raises.
    """
    progress.doing("loading the tasks")
    run = source.request.run(source.model_name)
    return source.host.load_tasks(replace(run, model_args=source.model_args))


def _arguments(request: PromptRequest, host: Harness, model_args: str) -> dict[str, Any]:
    return host.read_arguments(model_args, _of_the_host(request))


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
