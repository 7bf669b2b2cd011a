"""Argument and key names that releases of transformers rename: every form of each name.

Forward passes are counted by the arguments of a model's forward, which are identified by their
names. Each list starts with the name of the newest release; a model is expected to have one name
of each list. Where it has none, the release has another name, and what depends on it would be
counted as zero: that is a ``MeasurementError``.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn

# Since 5.24 all models call it ``cache``; before, Mamba models called it ``cache_params``.
CACHE = ("cache", "past_key_values", "cache_params")
TOKENS = ("input_ids", "inputs_embeds", "decoder_input_ids")
IMAGE_TOKEN = (
    "image_token_id",
    "image_token_index",
    "media_placeholder_token_id",  # Kimi-VL
    "video_token_id",
    "video_token_index",
)
# Code of a checkpoint is in a package of this name; it may have no cache at all.
OWN_CODE_PACKAGE = "transformers_modules"
LIKE_A_CACHE = re.compile(r"cache|past|kv|state|mem")
# A model with images computes positions from the token kinds, and since 5.24 requires them.
TOKEN_TYPE_IDS = ("mm_token_type_ids", "moe_mm_token_type_ids", "token_type_ids")
# Inputs with one entry per token (rows, tokens); the other inputs of a model hold images.
PER_TOKEN = ("input_ids", "attention_mask", *TOKEN_TYPE_IDS)
IMAGE_GRID = "image_grid_thw"
PIXELS = "pixel_values"
# Experts with this attribute skip the index num_experts when it is true; they have it since 5.18.
SKIPS_INDEX_FLAG = "_is_expert_parallel"
# A pass computes the logits of so many last tokens alone, where a model has this argument.
LAST_LOGITS = "logits_to_keep"
STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def cache_among(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401  (no base)
    """Return the cache among the arguments of a forward pass; ``None`` without one.

    Raises ``MeasurementError`` where the only cache has an unknown name.
    """
    named = [kwargs[name] for name in CACHE if kwargs.get(name) is not None]
    found = named + [value for value in args if _is_cache(value)]
    if found:
        return found[0]
    unknown = [name for name, value in kwargs.items() if _is_cache(value)]
    if unknown:
        raise MeasurementError(_unknown("The forward pass", "cache", CACHE, unknown))
    return None


def per_token_among(inputs: Mapping[str, Any]) -> list[str]:
    """List the inputs of a model that have one entry per token.

    Raises ``MeasurementError`` for one that has the shape of ``input_ids`` (rows, tokens) and an
    unknown name.
    """
    shape = inputs["input_ids"].shape
    unknown = [
        name
        for name, value in inputs.items()
        if name not in (*PER_TOKEN, IMAGE_GRID) and _has_shape(value, shape)
    ]
    if unknown:
        raise MeasurementError(_unknown("The processor", "input per token", PER_TOKEN, unknown))
    return [name for name in PER_TOKEN if name in inputs]


def image_token_ids(config: Any) -> tuple[int, ...]:  # noqa: ANN401  (one of many classes)
    """List the token ids of images and videos in a model's configuration."""
    ids = (getattr(config, name, None) for name in IMAGE_TOKEN)
    return tuple(dict.fromkeys(i for i in ids if isinstance(i, int)))


def require_known_names(model: nn.Module) -> None:
    """Raise ``MeasurementError`` if a model has its cache, tokens or images under unknown names.

    Only a model that can generate is checked: encoders and image towers have no cache. A forward
    whose decorator hides its arguments cannot be checked before a pass has a cache.
    """
    can_generate = getattr(model, "can_generate", None)
    if not callable(can_generate) or not can_generate():
        return
    config = model.config
    arguments = list(forward_arguments(type(model)))
    required: list[tuple[str, Sequence[str], Sequence[str]]] = []
    if arguments:
        required = [("input tokens", TOKENS, arguments)]
    if arguments and not _has_no_cache(type(model), arguments):
        required.insert(0, ("cache", CACHE, arguments))
    if getattr(config, "vision_config", None) is not None:
        keys = [name for name in (*IMAGE_TOKEN, *vars(config)) if hasattr(config, name)]
        required.append(("image token", IMAGE_TOKEN, [key for key in keys if "token" in key]))
    for what, known, names in required:
        if not set(known) & set(names):
            raise MeasurementError(_unknown(type(model).__name__, what, known, names))


def is_own_code(of: type) -> bool:
    """Whether a class comes with a checkpoint instead of with transformers."""
    return of.__module__.partition(".")[0] == OWN_CODE_PACKAGE


def _has_no_cache(of: type, arguments: Sequence[str]) -> bool:
    """Whether code of a checkpoint computes all tokens in each pass: every pass is a prefill."""
    return is_own_code(of) and not any(LIKE_A_CACHE.search(name) for name in arguments)


def forward_arguments(of: type) -> Iterator[str]:
    """Yield the arguments of a class's forward, or of its base if it only has ``**kwargs``.

    Decorators of transformers keep the signature. A forward that accelerate replaced is on the
    object, not on the class.
    """
    for base in of.__mro__:
        forward = vars(base).get("forward")
        if forward is None:
            continue
        _self, *others = inspect.signature(forward).parameters.values()
        named = [other.name for other in others if other.kind not in STARRED]
        yield from named
        if named:
            return


def _is_cache(value: object) -> bool:
    return hasattr(value, "get_seq_length")


def _has_shape(value: Tensor | object, shape: object) -> bool:
    return getattr(value, "shape", None) == shape


def _unknown(who: str, what: str, known: Sequence[str], has: Sequence[str]) -> str:
    import transformers

    return (
        f"{who} has no {what} of a known name, so its tokens cannot be counted by phase and "
        f"modality. Known names are {', '.join(known)}; it has {', '.join(has) or 'none'}. "
        f"transformers {transformers.__version__} may have renamed it: install another release "
        '(pip install "transformers>=5.16,<5.25"), and report the model.'
    )
