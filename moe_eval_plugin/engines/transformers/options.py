"""Options of a transformers model: which checkpoint, how it is loaded, and its experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.chat_template import TemplateOptions
from moe_eval_plugin.engines.option_checks import DTYPE_READER, MODEL_READERS, check_pixels
from moe_eval_plugin.option_values import one_of, read_fields, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

READERS = {
    **MODEL_READERS,
    "experts_policy": read_text,
    "renorm": read_text,
    "experts_implementation": one_of("eager", "grouped_mm", "batched_mm"),
    "dtype": DTYPE_READER,
    "device": read_text,
    "attn_implementation": read_text,
}


@dataclass(frozen=True)
class EngineOptions(TemplateOptions):
    """How a model is loaded. ``None`` leaves a choice to transformers or to the checkpoint."""

    pretrained: str
    """``demo``, a folder, or a model id of the hub; default: ``$MOE_EVAL_PRETRAINED``, else
    ``Qwen/Qwen3-VL-30B-A3B-Instruct``."""
    revision: str | None = None
    """A branch, tag or commit of the hub; default: the main branch."""
    experts_k: object = None
    """Routed experts per token: a number, a schedule, or ``@`` and the path of a YAML file;
    default: the published k."""
    experts_policy: str | None = None
    """Which of the chosen experts are dropped: ``uniform``, ``top_p:NUMBER``, ``threshold:NUMBER``,
    or a policy of a plugin; default: ``uniform``, none."""
    renorm: str | None = None
    """What the weights of the remaining experts add up to: ``native``, ``keep-mass`` or ``unit``;
    default: ``native``, as the router makes them."""
    experts_implementation: str | None = None
    """``eager``, ``grouped_mm`` or ``batched_mm``; default: chosen by transformers."""
    dtype: str = "auto"
    """``auto``, ``bfloat16``, ``float16`` or ``float32``; default: ``auto``, the type that the
    checkpoint names."""
    device: str = "cpu"
    """``cpu``, ``cuda``, ``cuda:0``, ...; default: the GPU if there is one, else ``cpu``."""
    device_map: str | None = None
    """``auto`` spreads the model over all GPUs; default: the whole model on ``device``."""
    attn_implementation: str | None = None
    """``eager``, ``sdpa``, ``flash_attention_2``, ...; default: chosen by transformers."""
    min_pixels: int | None = None
    """Lower limit of an image's size in pixels, where the processor has one; default: its own."""
    max_pixels: int | None = None
    """Upper limit of an image's size in pixels, where the processor has one; default: its own."""
    trust_remote_code: bool = False
    """``true`` runs Python code that comes with the checkpoint; default: ``false``."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """Arguments of the chat template, as a JSON object: ``{"enable_thinking": false}``; default:
    none."""
    enable_thinking: bool | None = None
    """``false`` asks a thinking model to answer at once, if its chat template reads this; short for
    this key of ``chat_template_kwargs``; default: as the template has it."""

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        read_fields(self, READERS)
        check_pixels(self.min_pixels, self.max_pixels)
        _ = self.template_arguments
