"""End the process with a non-zero exit code on our errors."""

from __future__ import annotations

import sys
import traceback
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import MoEEvalError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


_are_raised: ContextVar[bool] = ContextVar("errors are raised", default=False)


@contextmanager
def user_errors() -> Iterator[None]:
    """End the process when the block fails, with the exit code of the error.

    An error of ours is one message on stderr. Anything else is a fault: its traceback is shown
    and the exit code is 1. Serves as a decorator too. Inside of ``errors_are_raised`` nothing of
    this is done.
    """
    if _are_raised.get():
        yield
        return
    try:
        yield
    except UserError as error:
        _exit(f"error: {error}", error.exit_code)
    except MoEEvalError as error:
        _exit(f"{type(error).__name__}: {error}", error.exit_code)
    except Exception:  # noqa: BLE001  (the host would swallow it and exit with 0)
        _exit(traceback.format_exc(), 1)


@contextmanager
def errors_are_raised() -> Iterator[None]:
    """Leave errors of the block to whoever called it, in this thread."""
    token = _are_raised.set(True)
    try:
        yield
    finally:
        _are_raised.reset(token)


def _exit(message: str, code: int) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"\n{message}\n")
    sys.stderr.flush()
    raise SystemExit(code)
