"""Text helpers: sizes in GiB."""

from __future__ import annotations

GIB = 1024**3


def gib_text(n_bytes: int) -> str:
    """Write a number of bytes in GiB."""
    return f"{n_bytes / GIB:,.1f} GiB"
