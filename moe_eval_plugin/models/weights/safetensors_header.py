"""The header of a safetensors file: the name, type and shape of each tensor, without its values."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import BrokenCheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Return ``dtype``, ``shape`` and ``data_offsets`` of each tensor, by its name.

    Raises ``BrokenCheckpointError`` for a truncated file, and for one of another form.
    """
    try:
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(LENGTH_BYTES), "little")
            header: dict[str, dict[str, Any]] = json.loads(
                file.read(min(header_bytes, MAX_HEADER_BYTES))
            )
        header.pop("__metadata__", None)
        data_bytes = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        expected_bytes = LENGTH_BYTES + header_bytes + data_bytes
        count_elements(header)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BrokenCheckpointError(_broken(path, "its header cannot be read")) from error
    if path.stat().st_size < expected_bytes:
        raise BrokenCheckpointError(_broken(path, f"its header promises {expected_bytes} bytes"))
    return header


def count_elements(header: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return the number of elements of each safetensors dtype (``BF16`` -> count)."""
    counts: Counter[str] = Counter()
    for tensor in header.values():
        begin, end = tensor["data_offsets"]
        counts[tensor["dtype"]] += (end - begin) // FLOAT_BYTES.get(tensor["dtype"], 1)
    return dict(counts)


def _broken(path: Path, why: str) -> str:
    return (
        f"{path} ({path.stat().st_size} bytes) is not a complete safetensors file: {why}. Download "
        "it again, or delete it if it does not belong to the model."
    )
