"""Check the arguments of ``moe_hf`` in lm-eval, before anything of a model is read."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.engines.checks.checkpoint import check_checkpoint
from moe_eval_plugin.engines.checks.memory import check_memory
from moe_eval_plugin.engines.expert_request import ModelConfig, check_request
from moe_eval_plugin.engines.transformers.options import EngineOptions, check_available
from moe_eval_plugin.errors import InvalidArgumentError, UnsupportedFamilyError
from moe_eval_plugin.hosts.lm_eval.model_arguments import refuse_misspelt
from moe_eval_plugin.models.checkpoint import default_pretrained
from moe_eval_plugin.models.families import K_KEYS, describe
from moe_eval_plugin.models.weights.dtypes import DTYPE_BYTES
from moe_eval_plugin.option_values import one_of, read_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

    from moe_eval_plugin.engines.expert_request import ExpertRequest

EXPERTS = ("experts_k", "experts_policy", "renorm")
OURS = (*EXPERTS, "profile", "share_contexts")
# What ``from_pretrained`` has, and resembles an argument of ours.
OF_TRANSFORMERS = ("experts_implementation",)
NOT_POSSIBLE = {
    "gguf_file": "the number of experts of a GGUF file cannot be checked before it is loaded",
    "subfolder": "the configuration in it would not be checked. Pass the folder as pretrained",
}
# transformers' ``from_pretrained`` does not read these weights, so it reports nothing of them.
UNCHECKED = ("autogptq", "gptqmodel", "peft")
HOST_REVISION = "main"


@dataclass(frozen=True)
class MeasureOptions:
    """What ``moe_hf`` measures, and what it computes once."""

    profile: str = "basic"
    """What is measured besides the wall time: ``off`` for nothing, ``basic`` for phases, latency
    and memory, ``full`` for the same and steady decode; default: ``basic``."""
    share_contexts: str = "no"
    """Whether a context is computed once for all of its continuations: ``no`` as lm-eval does,
    ``auto`` where two ways of computing agree, ``yes`` to refuse a task where they do not. A sweep
    uses ``auto``, and its timed pass shares nothing; default: ``no``."""

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        read_fields(
            self,
            {
                "profile": one_of("off", "basic", "full"),
                "share_contexts": one_of("auto", "no", "yes"),
            },
        )


def choose_device(device: str | None) -> str:
    """Return the requested device, else the GPU if there is one, else the CPU."""
    return device or ("cuda:0" if torch.cuda.is_available() else "cpu")


def check_given(host_class: type, arguments: Mapping[str, Any]) -> None:
    """Check the keyword arguments that a model would be built from; see ``check_arguments``."""
    given = dict(arguments)
    MeasureOptions(given.pop("profile", "basic"), given.pop("share_contexts", "no"))
    experts = {name: given.pop(name, None) for name in EXPERTS}
    pretrained = given.pop("pretrained", None) or default_pretrained()
    device = choose_device(given.pop("device", None))
    check_arguments(host_class, pretrained, device, experts, given)


def check_arguments(
    host_class: type,
    pretrained: str,
    device: str,
    experts: Mapping[str, Any],
    of_the_host: Mapping[str, Any],
) -> ExpertRequest:
    """Check a request against the configuration of a checkpoint; no weight is read.

    ``experts`` are our arguments about them, ``of_the_host`` those of lm-eval's own class. Raises
    ``UserError`` for what cannot be used.
    """
    refuse_arguments(host_class, of_the_host)
    given = {
        name: of_the_host[name]
        for name in ("trust_remote_code", "attn_implementation")
        if of_the_host.get(name) is not None
    }
    if of_the_host.get("revision") not in {None, HOST_REVISION}:
        given["revision"] = str(of_the_host["revision"])
    if str(of_the_host.get("dtype")).removeprefix("torch.") in DTYPE_BYTES:
        given["dtype"] = str(of_the_host["dtype"]).removeprefix("torch.")
    if of_the_host.get("parallelize"):
        given["device_map"] = "auto"
    options = EngineOptions(pretrained, device=device, **experts, **given)
    check_available(options)
    request = check_request(options)
    config = request.model.config
    refuse_encoder_decoder(config)
    check_checkpoint(options, config)
    check_memory(
        pretrained,
        revision=options.revision,
        device=options.device,
        device_map=options.device_map,
        dtype=options.dtype,
    )
    return request


def check_loaded(model: PreTrainedModel, experts: Mapping[str, Any]) -> ExpertRequest:
    """Check a request against a model that a program has loaded itself."""
    config = model.config
    refuse_encoder_decoder(config)
    name = str(getattr(model, "name_or_path", "") or type(model).__name__)
    return ModelConfig(
        name, None, trust_remote_code=False, config=config, description=describe(config)
    ).request(**experts)


def refuse_arguments(host_class: type, given: Mapping[str, Any]) -> None:
    """Raise ``InvalidArgumentError`` for arguments that would go around the checks of k."""
    for key in K_KEYS:
        if key in given:
            message = (
                f"{key}={given[key]} would change the configuration, and k would not be checked "
                f"against the published one. Use experts_k={given[key]}."
            )
            raise InvalidArgumentError(message)
    for name, why in NOT_POSSIBLE.items():
        if given.get(name):
            message = f"{name}={given[name]} is not possible here: {why}."
            raise InvalidArgumentError(message)
    others = {*arguments_of(host_class), *OF_TRANSFORMERS}
    refuse_misspelt("moe_hf", given.keys(), OURS, others)


def refuse_encoder_decoder(config: Any) -> None:  # noqa: ANN401  (a PretrainedConfig)
    """Raise ``UnsupportedFamilyError`` for a model whose prompts go to an encoder."""
    if getattr(config, "is_encoder_decoder", False):
        message = (
            f"{config.model_type} has an encoder and a decoder, and moe_hf runs decoders alone. "
            "Use the model hf of lm-eval, at the published k."
        )
        raise UnsupportedFamilyError(message)


@cache
def arguments_of(host_class: type) -> frozenset[str]:
    """Return the names of the arguments of a class, and of those that it extends."""
    return frozenset(
        name
        for base in host_class.__mro__
        if base is not object
        for name in inspect.signature(base).parameters
    )
