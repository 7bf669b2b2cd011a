"""Check the arguments of ``moe_hf`` in lm-eval, before anything of a model is read."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from moe_eval_plugin.engines.checks.checkpoint import check_checkpoint
from moe_eval_plugin.engines.checks.memory import check_memory
from moe_eval_plugin.engines.expert_request import ModelConfig, check_request
from moe_eval_plugin.engines.option_checks import DTYPES
from moe_eval_plugin.engines.transformers.options import EngineOptions, check_available
from moe_eval_plugin.errors import UnsupportedFamilyError
from moe_eval_plugin.hosts.lm_eval.model_arguments import refuse_misspelt
from moe_eval_plugin.models.checkpoint import default_pretrained
from moe_eval_plugin.models.families import K_KEYS, describe
from moe_eval_plugin.option_values import one_of, read_fields, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

    from moe_eval_plugin.engines.expert_request import ExpertRequest

EXPERTS = ("experts_k", "experts_policy", "renorm")
MEASURES = ("profile", "share_contexts")
OURS = (*EXPERTS, *MEASURES)
# What ``from_pretrained`` has, and resembles an argument of ours.
OF_TRANSFORMERS = ("experts_implementation",)
NOT_POSSIBLE = {
    "gguf_file": "the number of experts of a GGUF file cannot be checked before it is loaded",
    "subfolder": "the configuration in it would not be checked. Pass the folder as pretrained",
}
# transformers' ``from_pretrained`` does not read these weights, so it reports nothing of them.
UNCHECKED = ("autogptq", "gptqmodel", "peft")
HOST_REVISION = "main"
NO_ENCODER = (
    "moe_hf runs decoders alone, and this has an encoder too. Use the model hf of lm-eval, at the "
    "published k"
)
OTHER_K = (
    "it would change the configuration, and k would not be checked against the published one. Use "
    "experts_k"
)


@dataclass(frozen=True)
class HFArguments:
    """The arguments of ``moe_hf``, sorted."""

    pretrained: Any
    """The model: ``demo``, a folder, a model id of the Hub, or a model that is loaded already;
    default: ``$MOE_EVAL_PRETRAINED``, else ``Qwen/Qwen3-VL-30B-A3B-Instruct``."""
    experts: Mapping[str, Any] = field(default_factory=dict)
    """``experts_k``, ``experts_policy`` and ``renorm``, as in lmms-eval."""
    profile: str = "basic"
    """What to measure besides accuracy, wall time and latency: ``off`` nothing, ``basic`` phases,
    time to first token, memory and energy, ``full`` steady decode as well; default: ``basic``."""
    share_contexts: str = "no"
    """Whether all continuations of a context share its computation: ``no`` as in lm-eval, ``auto``
    where both ways of computing agree, ``yes`` to refuse a task where they do not. A sweep uses
    ``auto``, and its timed pass shares nothing; default: ``no``."""
    device: str = "cpu"
    """Device of the weights; default: the GPU if there is one, else ``cpu``."""
    of_the_host: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the host's own class."""

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        read_fields(
            self,
            {
                "profile": one_of("off", "basic", "full"),
                "share_contexts": one_of("auto", "no", "yes"),
            },
        )

    @classmethod
    def read(cls, model_args: Mapping[str, Any]) -> HFArguments:
        """Sort arguments by name; raises ``InvalidArgumentError``."""
        given = {name: value for name, value in model_args.items() if value is not None}
        experts = {name: given.pop(name) for name in EXPERTS if name in given}
        pretrained = given.pop("pretrained", None) or default_pretrained()
        device = given.pop("device", None) or default_device()
        ours = {name: given.pop(name) for name in MEASURES if name in given}
        return cls(pretrained, experts, device=device, of_the_host=given, **ours)

    @property
    def name(self) -> str:
        """The name of the model; that of its class for a loaded one without a name."""
        if isinstance(self.pretrained, str):
            return self.pretrained
        return str(getattr(self.pretrained, "name_or_path", "") or type(self.pretrained).__name__)

    def check(self, model: type) -> ExpertRequest:
        """Check everything that a configuration can tell; no weight is read.

        ``model`` is our class. Raises ``UserError`` for what cannot be used.
        """
        refuse_arguments(model, self.of_the_host)
        if not isinstance(self.pretrained, str):
            return _request_of_loaded(self.pretrained, self.name, self.experts)
        options = self._engine_options()
        check_available(options)
        request = check_request(options)
        config = request.model.config
        refuse_class(model, config, trust_remote_code=options.trust_remote_code)
        check_checkpoint(options, config)
        check_memory(
            options.pretrained,
            revision=options.revision,
            device=options.device,
            device_map=options.device_map,
            dtype=options.dtype,
        )
        return request

    def _engine_options(self) -> EngineOptions:
        """Return the options that our checks read."""
        host = self.of_the_host
        given = {
            name: host[name]
            for name in ("trust_remote_code", "attn_implementation")
            if name in host
        }
        if host.get("revision", HOST_REVISION) != HOST_REVISION:
            given["revision"] = str(host["revision"])
        dtype = str(host.get("dtype", "auto")).removeprefix("torch.")
        given["dtype"] = dtype if dtype in DTYPES else "auto"
        if host.get("parallelize"):
            given["device_map"] = "auto"
        return EngineOptions(self.pretrained, device=self.device, **self.experts, **given)


def default_device() -> str:
    """Return the first GPU if there is one, else the CPU."""
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _request_of_loaded(
    model: PreTrainedModel, name: str, experts: Mapping[str, Any]
) -> ExpertRequest:
    config = model.config
    description = describe(config)
    return ModelConfig(
        name, None, trust_remote_code=False, config=config, description=description
    ).request(**{"experts_k": None, **experts})


def refuse_arguments(model: type, given: Mapping[str, Any]) -> None:
    """Raise ``InvalidArgumentError`` for arguments of the host that a checked k rules out."""
    name_of_model = str(getattr(model, "model_name", model.__name__))
    refused = {**NOT_POSSIBLE, **dict.fromkeys(K_KEYS, OTHER_K)}
    if given.get("backend") == "seq2seq":
        refused["backend"] = NO_ENCODER
    if _takes_images(model) and str(given.get("batch_size")).startswith("auto"):
        refused["batch_size"] = f"{name_of_model} needs a number, as lm-eval's own class does"
    for name, value in given.items():
        if name in refused and value:
            raise refusal(name, value, refused[name], is_why=True)
    dtype = str(given.get("dtype", "auto")).removeprefix("torch.")
    if dtype not in DTYPES and not isinstance(getattr(torch, dtype, None), torch.dtype):
        name, allowed = "dtype", f"Use one of: {', '.join(DTYPES)}"
        raise refusal(name, dtype, allowed)
    refuse_misspelt(name_of_model, given.keys(), OURS, {*arguments_of(model), *OF_TRANSFORMERS})


def refuse_class(model: type, config: Any, *, trust_remote_code: bool) -> None:  # noqa: ANN401  (a PretrainedConfig)
    """Raise ``UnsupportedFamilyError`` for a model that another class of ours runs, or none."""
    if getattr(config, "is_encoder_decoder", False):
        message = f"{config.model_type} cannot be used here: {NO_ENCODER}."
        raise UnsupportedFamilyError(message)
    if trust_remote_code:
        return
    if _takes_images(model) and type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        message = f"{config.model_type} takes no images. Use --model moe_hf."
        raise UnsupportedFamilyError(message)
    if not _takes_images(model) and type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        message = (
            f"{config.model_type} takes images, and transformers loads it with them alone. Use "
            "--model moe_hf-multimodal, for tasks without images too."
        )
        raise UnsupportedFamilyError(message)


def _takes_images(model: type) -> bool:
    return bool(getattr(model, "MULTIMODAL", False))


@cache
def arguments_of(model: type) -> frozenset[str]:
    """Return the names of the arguments of a class, and of those that it extends."""
    return frozenset(
        name
        for base in model.__mro__
        if base is not object
        for name in inspect.signature(base).parameters
    )
