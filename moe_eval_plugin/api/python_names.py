"""Messages about options with the names that a Python program knows them by."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

OPTION = re.compile(r"--([a-z][a-z-]*[a-z])")
# What stands in backticks is a command.
CODE = "`"
FLAGS = ("common", "force", "restart", "separate")


@contextmanager
def python_names(names: Collection[str]) -> Iterator[None]:
    """Write ``speed_budget`` for ``--speed-budget`` in the message of a ``UserError``.

    ``names`` are the keyword arguments of the function; other options stay as they are.
    """
    try:
        yield
    except UserError as error:
        error.args = (_with_names(str(error), names), *error.args[1:])
        raise


def _with_names(message: str, names: Collection[str]) -> str:
    def name(found: re.Match[str]) -> str:
        known = found.group(1).replace("-", "_")
        if known not in names:
            return found.group(0)
        return f"{known}=True" if known in FLAGS else known

    parts = message.split(CODE)
    return CODE.join(
        part if number % 2 else OPTION.sub(name, part) for number, part in enumerate(parts)
    )
