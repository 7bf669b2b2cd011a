"""Bytes of one element of each data type."""

from __future__ import annotations

DTYPE_BYTES = {
    "float64": 8,
    "float32": 4,
    "float": 4,
    "fp32": 4,
    "float16": 2,
    "half": 2,
    "fp16": 2,
    "bfloat16": 2,
    "bf16": 2,
}


def dtype_bytes(dtype: str | None) -> int | None:
    """Return the bytes of one element of a data type; ``None`` for an unknown one."""
    return DTYPE_BYTES.get(dtype or "")
