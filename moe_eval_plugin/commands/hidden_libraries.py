"""Hide what libraries write while a model is loaded; our own warnings are shown."""

from __future__ import annotations

import io
import logging
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.commands.status import Status


@contextmanager
def libraries_hidden(status: Status, *, verbose: bool) -> Iterator[None]:
    """Hide what libraries write about loading, unless ``verbose``; our own warnings are shown."""
    if verbose:
        yield
        return

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            status.write(record.getMessage())

    handler, own = Shown(logging.WARNING), logging.getLogger("moe_eval_plugin")
    own.addHandler(handler)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        own.removeHandler(handler)
