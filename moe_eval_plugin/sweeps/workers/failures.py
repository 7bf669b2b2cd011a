"""How a point of a sweep fails, and the text that its manifest keeps of it."""

from __future__ import annotations

LONGEST_REASON = 2000


class PointRefusedError(RuntimeError):
    """The host refused the request of a point: its exit code was that of a ``UserError``."""


def reason_of(error: BaseException) -> str:
    """Return the type and the text of an error, shortened."""
    return f"{type(error).__name__}: {error}"[:LONGEST_REASON]
