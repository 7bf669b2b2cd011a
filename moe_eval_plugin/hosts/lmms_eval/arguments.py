"""Parse the ``--model_args`` of lmms-eval."""

from __future__ import annotations

from typing import Any

from lmms_eval.utils import simple_parse_args_string

from moe_eval_plugin.errors import InvalidArgumentError


def parse_arg_string(arg_string: str) -> dict[str, Any]:
    """Read ``--model_args`` as the host does; ``InvalidArgumentError`` if that cannot be done."""
    try:
        parsed: dict[str, Any] = simple_parse_args_string(arg_string)
    except ValueError as error:
        message = f"--model_args {arg_string} cannot be read. Write name=value,name=value."
        raise InvalidArgumentError(message) from error
    return parsed
