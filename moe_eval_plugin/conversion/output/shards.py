"""Divide tensors over safetensors files, and write a file without holding it in memory."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.models.weights.dtypes import dtype_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

SHARD_BYTES = 2 * 10**9
INDEX = "model.safetensors.index.json"
ONE_FILE = "model.safetensors"
CODES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
# safetensors aligns the first value to this many bytes.
ALIGNMENT = 8


@dataclass(frozen=True)
class Entry:
    """A tensor to write: name, shape and data type."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def n_bytes(self) -> int:
        """The bytes of its values."""
        return math.prod(self.shape) * (dtype_bytes(self.dtype) or 0)


@dataclass(frozen=True)
class Shard:
    """A file to write, with its tensors in their order."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def header(self) -> bytes:
        """The bytes before the values: their length, then names, types, shapes and offsets."""
        content: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        begin = 0
        for entry in self.entries:
            content[entry.name] = {
                "dtype": CODES[entry.dtype],
                "shape": list(entry.shape),
                "data_offsets": [begin, begin + entry.n_bytes],
            }
            begin += entry.n_bytes
        text = json.dumps(content, separators=(",", ":")).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        return len(text).to_bytes(8, "little") + text

    @property
    def n_bytes(self) -> int:
        """The size of the file."""
        return len(self.header) + sum(entry.n_bytes for entry in self.entries)


def plan_shards(entries: Sequence[Entry], most_bytes: int = SHARD_BYTES) -> tuple[Shard, ...]:
    """Return files of at most ``most_bytes`` of values, or of one tensor that is larger."""
    groups: list[list[Entry]] = [[]]
    n_bytes = 0
    for entry in entries:
        if groups[-1] and n_bytes + entry.n_bytes > most_bytes:
            groups.append([])
            n_bytes = 0
        groups[-1].append(entry)
        n_bytes += entry.n_bytes
    if len(groups) == 1:
        return (Shard(ONE_FILE, tuple(groups[0])),)
    return tuple(
        Shard(f"model-{number:05d}-of-{len(groups):05d}.safetensors", tuple(group))
        for number, group in enumerate(groups, 1)
    )


def index_text(shards: Sequence[Shard]) -> str | None:
    """Return the index that names the file of each tensor; ``None`` for a single file."""
    if len(shards) == 1:
        return None
    names = {entry.name: shard.name for shard in shards for entry in shard.entries}
    size = sum(entry.n_bytes for shard in shards for entry in shard.entries)
    content = {"metadata": {"total_size": size}, "weight_map": names}
    return f"{json.dumps(content, indent=2)}\n"


def write_shard(
    path: Path, shard: Shard, values_of: Callable[[str], Tensor], count: Callable[[int], None]
) -> str:
    """Write a file tensor by tensor, and return its SHA-256; ``count`` is called with bytes.

    ``values_of`` returns the values of a name, in the shape and type of its entry.
    """
    import torch

    digest = hashlib.sha256()
    with path.open("wb") as file:
        file.write(shard.header)
        digest.update(shard.header)
        for entry in shard.entries:
            values = values_of(entry.name).contiguous()
            data = values.reshape(-1).view(torch.uint8).numpy().data
            file.write(data)
            digest.update(data)
            count(len(data))
    return digest.hexdigest()
