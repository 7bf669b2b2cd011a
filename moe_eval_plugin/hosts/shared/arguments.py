"""Read ``--model_args`` as text, and join them with options of the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import empty, repeated, split_arguments

# What a host passes where its user gives nothing.
HOST_DEFAULTS = {"batch_size": "1"}


def read_model_args(model_args: object) -> dict[str, Any]:
    """Read ``--model_args``: text, or the mapping of a YAML file or of a program.

    Values of text stay text, since the options read them: the host would make ``4`` of
    ``revision=0004``. Raises ``InvalidArgumentError`` for text that is not ``name=value``, and for
    a name that is given twice or without a value.
    """
    if isinstance(model_args, str):
        return dict(split_arguments("--model_args", model_args))
    if not isinstance(model_args, Mapping):
        message = f"model_args={model_args} is not possible. Write name=value,name=value."
        raise InvalidArgumentError(message)
    for name, value in model_args.items():
        if isinstance(value, str) and not value.strip():
            raise empty(name, "model_args")
    return dict(model_args)


def join_arguments(
    model_args: str | Mapping[str, Any], of_the_host: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Read ``--model_args`` and the options of the host that are the model's.

    Raises what ``read_model_args`` raises, and ``InvalidArgumentError`` for an option that is
    given in both with two values: results would name the one that was not used.
    """
    given = read_model_args(model_args)
    joined = dict(given)
    for name, value in (of_the_host or {}).items():
        ours = given.get(name)
        if ours is None:
            joined[name] = value
        elif value is not None and str(value) not in {str(ours), HOST_DEFAULTS.get(name)}:
            raise repeated(name, (f"--{name} {value}", f"--model_args {name}={ours}"))
    return joined
