"""The ``--model_args`` of our models in lm-eval: ours, and those of the host's own class."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import repeated

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# What lm-eval passes where its user gives nothing.
HOST_DEFAULTS = {"batch_size": "1", "device": "cuda:0"}
# A name that is as much like one of ours is a slip of the pen.
ALIKE = 0.8


def join_arguments(
    model_args: Mapping[str, Any], of_the_host: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Join ``--model_args`` with the options of the host that are the model's.

    The host's default device, which need not be there, is left out. Raises
    ``InvalidArgumentError`` for an option that is given in both with two values.
    """
    joined = dict(model_args)
    for name, value in (of_the_host or {}).items():
        is_default = str(value) == HOST_DEFAULTS.get(name)
        if value is None or (is_default and name in {"device", *joined}):
            continue
        ours = joined.setdefault(name, value)
        if str(ours) != str(value):
            raise repeated(name, (f"--{name} {value}", f"--model_args {name}={ours}"))
    return joined


def refuse_misspelt(
    model: str, given: Collection[str], ours: Collection[str], others: Collection[str]
) -> None:
    """Raise ``InvalidArgumentError`` for a name that is almost one of ours.

    ``others`` are names that the host's class or its library has. The host passes on whatever it
    does not know, and not every library refuses it.
    """
    for name in sorted(set(given) - {*ours, *others}):
        alike = difflib.get_close_matches(name, ours, n=1, cutoff=ALIKE)
        if alike:
            message = f"{name} is not an argument of {model}. Did you mean {alike[0]}?"
            raise InvalidArgumentError(message)
