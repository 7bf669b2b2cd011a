"""Check engine options against their allowed values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

DTYPES = ("auto", "bfloat16", "float16", "float32")


def check_choice(name: str, value: str | None, allowed: Sequence[str | None]) -> None:
    """Raise ``InvalidArgumentError`` if ``value`` is not one of those that are allowed."""
    if value not in allowed:
        choices = ", ".join(str(choice) for choice in allowed if choice is not None)
        message = f"{name}={value} is not known. Use one of: {choices}."
        raise InvalidArgumentError(message)
