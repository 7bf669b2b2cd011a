"""Sort and check the arguments of ``moe_vllm`` in lm-eval: ours, the host's own, and vLLM's."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.options import (
    CACHES_OFF,
    VLLMOptions,
    engine_argument_names,
    engine_arguments,
    read_engine_values,
)
from moe_eval_plugin.model_adapters.vllm_arguments import check_names, refuse_device, refuse_ranks
from moe_eval_plugin.models import checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.engines.expert_request import ExpertRequest

OPTIONS = (
    "pretrained",
    "revision",
    "experts_k",
    "verify",
    "trust_remote_code",
    "min_pixels",
    "max_pixels",
)
# The host drops both: vLLM chooses its devices, and has no swap space any more.
DROPPED = ("device", "swap_space")


@dataclass(frozen=True)
class HostArguments:
    """``--model_args`` and the host's own options, sorted by who reads them."""

    options: VLLMOptions
    of_the_host: Mapping[str, Any]

    def for_host(self, request: ExpertRequest) -> dict[str, Any]:
        """Build the keyword arguments of the host's class, which passes most of them to vLLM."""
        source = checkpoint.resolve(self.options.pretrained)
        arguments = engine_arguments(self.options, request, source)
        return {"pretrained": arguments.pop("model"), **arguments, **self.of_the_host}


def parse_arguments(given: Mapping[str, Any], host_class: type) -> HostArguments:
    """Sort what the host passes on; ``host_class`` is its model that ours derives from.

    vLLM's caches are off unless their arguments are given, so that times are those of requests.
    Raises ``InvalidArgumentError`` for an unknown name, with the nearest known one.
    """
    refuse_ranks()
    refuse_device(given.get("device"))
    values = {
        name: value for name, value in given.items() if value is not None and name not in DROPPED
    }
    of_vllm = engine_argument_names()
    check_names(list(values), [*OPTIONS, *(n for n in host_names(host_class) if n not in OPTIONS)])
    ours = {name: values.pop(name) for name in OPTIONS if name in values}
    ours.setdefault("pretrained", checkpoint.default_pretrained())
    engine = {name: values.pop(name) for name in list(values) if name in of_vllm}
    options = VLLMOptions(**ours, engine={**CACHES_OFF, **read_engine_values(engine)})
    return HostArguments(options, values)


def host_names(host_class: type) -> list[str]:
    """List the arguments of a class of the host, and of the classes that it passes others to."""
    return [
        name
        for one in host_class.__mro__
        if "__init__" in vars(one) and one is not object
        for name, parameter in inspect.signature(one).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
