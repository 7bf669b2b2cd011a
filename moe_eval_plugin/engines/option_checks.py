"""Readers of the options that all engines have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.engines.chat_template import read_template_kwargs
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import empty, one_of, read_bool, read_text, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.option_values import Reader

DTYPES = ("auto", "bfloat16", "float16", "float32")


def read_given(name: str, value: object) -> object:
    """Return a value that is read elsewhere; ``InvalidArgumentError`` for an empty one."""
    if isinstance(value, str) and not value.strip():
        raise empty(name)
    return value


def check_pixels(min_pixels: int | None, max_pixels: int | None) -> None:
    """Raise ``InvalidArgumentError`` where the lower limit is above the upper one."""
    if min_pixels is not None and max_pixels is not None and min_pixels > max_pixels:
        message = (
            f"min_pixels={min_pixels} is not possible with max_pixels={max_pixels}: no image has "
            "a size between them. Make min_pixels the smaller one."
        )
        raise InvalidArgumentError(message)


# Options of every engine that names a checkpoint.
MODEL_READERS: Mapping[str, Reader] = {
    "pretrained": read_text,
    "revision": read_text,
    "experts_k": read_given,
    "trust_remote_code": read_bool,
    "min_pixels": whole(1),
    "max_pixels": whole(1),
    "chat_template_kwargs": read_template_kwargs,
    "enable_thinking": read_bool,
}
DTYPE_READER = one_of(*DTYPES)
