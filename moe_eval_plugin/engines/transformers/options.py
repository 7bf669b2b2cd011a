"""Options of a transformers model: which checkpoint, how it is loaded, and its experts."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.chat_template import TemplateOptions
from moe_eval_plugin.engines.option_checks import DTYPE_READER, MODEL_READERS, check_pixels
from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.option_values import one_of, read_fields, read_text, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

# The kinds of device that PyTorch itself has; other packages may add theirs.
DEVICE = re.compile(
    "(cpu|cuda|ipu|xpu|mkldnn|opengl|opencl|ideep|hip|ve|fpga|maia|xla|lazy|vulkan|mps|meta|hpu|"
    "mtia|privateuseone)(:(0|[1-9][0-9]?))?"
)
TORCH_BACKENDS = "torch.backends"
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


def read_device(name: str, value: object) -> str:
    """Return the name of a kind of device of PyTorch, with or without a number.

    torch is imported only for a name that it may have from another package.
    """
    text = read_text(name, value)
    if DEVICE.fullmatch(text):
        return text
    error: RuntimeError | None = None
    if entry_points(group=TORCH_BACKENDS) or "torch" in sys.modules:
        import torch

        try:
            torch.device(text)
        except RuntimeError as refused:
            error = refused
        else:
            return text
    raise refusal(name, value, "Use cpu, cuda, cuda:0, ...") from error


def read_device_map(name: str, value: object) -> str:
    """Return a word of transformers, or the name of a device."""
    if value in DEVICE_MAPS:
        return str(value)
    try:
        return read_device(name, value)
    except InvalidArgumentError as error:
        raise refusal(name, value, f"Use {', '.join(DEVICE_MAPS)}, or a device") from error


READERS = {
    **MODEL_READERS,
    "experts_policy": read_text,
    "renorm": read_text,
    "experts_implementation": one_of("eager", "grouped_mm", "batched_mm"),
    "dtype": DTYPE_READER,
    "device": read_device,
    "device_map": read_device_map,
    "attn_implementation": read_text,
    "share_images": one_of("auto", "no", "yes"),
}


@dataclass(frozen=True)
class EngineOptions(TemplateOptions):
    """How a model is loaded. ``None`` leaves a choice to transformers or to the checkpoint."""

    pretrained: str
    """The model: ``demo``, a folder, or a model id of the Hub; default: ``$MOE_EVAL_PRETRAINED``,
    else ``Qwen/Qwen3-VL-30B-A3B-Instruct``."""
    revision: str | None = None
    """Branch, tag or commit of a model on the Hub; default: the main branch."""
    experts_k: object = None
    """Routed experts per token: a number, a schedule, or ``@FILE``, a schedule in YAML; default:
    the published k."""
    experts_policy: str | None = None
    """Rule that drops some of the chosen experts: ``uniform``, ``top_p:SHARE``,
    ``threshold:MULTIPLE``, ``entropy:LOW:HIGH``, ``modes:TEXT:IMAGE:IMPORTANCE``, a policy of a
    plugin, or ``@FILE``, a calibrated policy; default: ``uniform``, which drops none."""
    renorm: str | None = None
    """How to scale the weights of the experts that are kept: ``native``, ``keep-mass`` or ``unit``;
    default: ``native``, as the router does it."""
    experts_implementation: str | None = None
    """How transformers computes the experts: ``eager``, ``grouped_mm`` or ``batched_mm``; default:
    transformers chooses."""
    dtype: str = "auto"
    """Number type of the weights: ``auto``, ``bfloat16``, ``float16`` or ``float32``; default:
    ``auto``, the type that the checkpoint names."""
    device: str = "cpu"
    """Device of the weights: ``cpu``, ``cuda``, ``cuda:0``, ...; default: the GPU if there is one,
    else ``cpu``."""
    device_map: str | None = None
    """How to spread the model over several GPUs: ``auto``, ``balanced``, ``balanced_low_0`` or
    ``sequential``; default: the whole model on ``device``."""
    attn_implementation: str | None = None
    """Attention of transformers: ``eager``, ``sdpa``, ``flash_attention_2``, ...; default:
    transformers chooses."""
    share_images: str = "auto"
    """Whether questions about one image share its computation, and that of the common beginning of
    their prompts: ``auto`` where this changes no answer, ``no`` never, ``yes`` to refuse a task or
    a model that cannot share; default: ``auto``."""
    min_pixels: int | None = None
    """Smallest size of an image in pixels, if the model's image processor has such limits; default:
    the processor's own."""
    max_pixels: int | None = None
    """Largest size of an image in pixels, if the model's image processor has such limits; default:
    the processor's own."""
    trust_remote_code: bool = False
    """``true`` allows Python code that comes with the checkpoint to run; default: ``false``."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """Arguments for the chat template, as a JSON object: ``{"enable_thinking": false}``; default:
    none."""
    enable_thinking: bool | None = None
    """``false`` asks a thinking model to answer without thinking, if its chat template supports
    this. It sets ``enable_thinking`` in ``chat_template_kwargs``; default: the template's own."""

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        read_fields(self, READERS)
        check_pixels(self.min_pixels, self.max_pixels)
        _ = self.template_arguments


def check_available(options: EngineOptions) -> None:
    """Check that this machine has the device and the attention that the options name.

    Raises ``InvalidArgumentError``, and ``MissingDependencyError`` for an attention whose package
    is not installed.
    """
    if options.device_map is None:
        _check_device("device", options.device)
    elif options.device_map not in DEVICE_MAPS:
        _check_device("device_map", options.device_map)
    if options.attn_implementation is not None:
        _check_attention(options.attn_implementation)


def refuse_implementation(options: EngineOptions, error: Exception) -> None:
    """Raise ``InvalidArgumentError`` for an error that speaks of an implementation we passed on."""
    for name in ("attn_implementation", "experts_implementation"):
        value = getattr(options, name)
        if value is not None and (name in str(error) or value in str(error)):
            reason = " ".join(str(error).split()).rstrip(".")
            message = (
                f"{name}={value} cannot be used with {options.pretrained}: {reason}. Leave it out: "
                "transformers then chooses one."
            )
            raise InvalidArgumentError(message) from error


def set_pixels(processor: Any, options: EngineOptions) -> None:  # noqa: ANN401  (one of many classes)
    """Set the limits of the options on images; ``InvalidArgumentError`` where there are none."""
    limits = {"shortest_edge": options.min_pixels, "longest_edge": options.max_pixels}
    given = {key: value for key, value in limits.items() if value is not None}
    size = getattr(getattr(processor, "image_processor", None), "size", None)
    if not given:
        return
    if size is None or not all(key in size for key in limits):
        message = (
            f"min_pixels and max_pixels are not options of {options.pretrained}: its "
            "image processor does not limit images by their number of pixels. Leave them out."
        )
        raise InvalidArgumentError(message)
    edges: dict[str, int] = {**dict(size), **given}
    if edges["shortest_edge"] > edges["longest_edge"]:
        message = (
            f"{_written(options)} is not possible: the image processor of {options.pretrained} "
            f"limits images to {size['shortest_edge']} to {size['longest_edge']} pixels. Set both."
        )
        raise InvalidArgumentError(message)
    processor.image_processor.size = edges


def _written(options: EngineOptions) -> str:
    limits = {"min_pixels": options.min_pixels, "max_pixels": options.max_pixels}
    return " and ".join(f"{name}={value}" for name, value in limits.items() if value is not None)


def _check_device(name: str, value: str) -> None:
    import torch

    device = torch.device(value)
    try:
        module = torch.get_device_module(device)
        n_devices = module.device_count() if module.is_available() else 0
    except RuntimeError:
        n_devices = 0
    if (device.index or 0) >= n_devices:
        has = f"has {n_devices} of this kind" if n_devices else "finds none of this kind here"
        allowed = f"PyTorch {torch.__version__} {has}. Use another device, such as cpu"
        raise refusal(name, value, allowed, is_why=True)


def _check_attention(name: str) -> None:
    from transformers import utils
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    # A name of the hub is a kernel, which the package `kernels` loads.
    known = {"eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()}
    if "/" not in name and name not in known:
        allowed = f"Use one of: {', '.join(sorted(known))}"
        option = "attn_implementation"
        raise refusal(option, name, allowed)
    number = name.removeprefix("flash_attention_")
    is_installed = getattr(utils, f"is_flash_attn_{number}_available", lambda: "/" not in name)
    if not (is_installed() or utils.is_kernels_available()):
        message = (
            f"attn_implementation={name} is not installed here. Install flash-attn or kernels, "
            "which need a GPU, or leave it out: transformers then chooses one, such as sdpa."
        )
        raise MissingDependencyError(message)
