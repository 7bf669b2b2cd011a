"""Open a checkpoint, check that its chunks fill its tensors, and read tensors or parts of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn
from zipfile import BadZipFile, ZipFile

from moe_eval_plugin.conversion.torch_dist.chunks import MOST_EXTRA_BYTES, map_chunk
from moe_eval_plugin.conversion.torch_dist.folder import COMMON, check_format, inside
from moe_eval_plugin.conversion.torch_dist.metadata import read_metadata
from moe_eval_plugin.conversion.torch_dist.records import Record, read_records
from moe_eval_plugin.errors import BrokenCheckpointError
from moe_eval_plugin.models.weights.dtypes import dtype_bytes
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from moe_eval_plugin.conversion.torch_dist.metadata import Chunk, TensorFacts

MOST_COMMON_BYTES = 2**28


@dataclass(frozen=True)
class TorchDistCheckpoint:
    """One iteration of a run, saved by Megatron-core in the format torch_dist."""

    folder: Path
    """The folder of the iteration."""
    tensors: Mapping[str, TensorFacts]
    """Shape, type and chunks of each tensor by its key, optimizer states included."""
    objects: frozenset[str]
    """Keys of what is stored as bytes, such as states of random generators; it is never read."""
    _compared: set[Chunk] = field(default_factory=set, init=False, repr=False, compare=False)
    """Chunks whose values were compared with their checksums."""

    @cached_property
    def common(self) -> Mapping[str, Any]:
        """What all processes share (``common.pt``): arguments, iteration, optimizer settings.

        Objects are records without behaviour. Raises ``BrokenCheckpointError`` and
        ``UnsafeCheckpointError``.
        """
        path = inside(self.folder, COMMON)
        found = read_records(_pickle_of(path), str(path))
        if not isinstance(found, dict):
            _broken(path, f"it holds {type(found).__name__}, not a dictionary")
        return found

    @cached_property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the training run, by name; empty where they were not saved."""
        found = self.common.get("args")
        if isinstance(found, Record) and isinstance(found.state, dict):
            return found.state
        return {}

    def check(self, keys: Iterable[str]) -> None:
        """Check, without reading values, that the chunks of these tensors are there and fit.

        The chunks of a tensor must fill its shape without gap or overlap, and be as long as their
        shape needs. Files must be in the folder and long enough, and no byte belongs to two chunks.
        Raises ``BrokenCheckpointError``, and ``UnsafeCheckpointError`` for a path that leads out.
        """
        parts: dict[str, list[tuple[int, int, str]]] = {}
        for key in keys:
            facts = self.tensors[key]
            _check_tiles(key, facts)
            for chunk in facts.chunks:
                _check_length(key, facts.dtype, chunk)
                end = chunk.start + chunk.length
                parts.setdefault(chunk.file, []).append((chunk.start, end, key))
        for name, found in parts.items():
            _check_parts(inside(self.folder, name), sorted(found))

    def files(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the files that hold these tensors, sorted."""
        return tuple(sorted({chunk.file for key in keys for chunk in self.tensors[key].chunks}))

    def read(
        self,
        key: str,
        index: int | tuple[int, ...] | None = None,
        rows: tuple[int, int] | None = None,
    ) -> Tensor:
        """Return a tensor, or a part of it, as it is stored.

        ``index`` is a place on the first axis, or on as many first axes as it has numbers; these
        axes are left out. ``rows`` are the first and the one after the last place on the axis that
        follows. Only the chunks with that part are mapped, and only its bytes are read. Raises
        ``BrokenCheckpointError`` for chunks that are missing, broken or of another shape.
        """
        import torch

        facts = self.tensors[key]
        fixed = () if index is None else (index,) if isinstance(index, int) else index
        box = [(place, place + 1) for place in fixed]
        box += [rows] if rows is not None else []
        box += [(0, n) for n in facts.shape[len(box) :]]
        out = torch.empty([high - low for low, high in box], dtype=getattr(torch, facts.dtype))
        n_read = 0
        for chunk in facts.chunks:
            common = _common(box, chunk)
            if common is None:
                continue
            path, is_first = inside(self.folder, chunk.file), chunk not in self._compared
            values = map_chunk(path, chunk, facts.dtype, is_first=is_first)
            self._compared.add(chunk)
            starts = [low for low, _ in box]
            part = values[_slices(common, chunk.offsets)]
            out[_slices(common, starts)] = part
            n_read += part.numel()
        if n_read != out.numel():
            _incomplete(key, n_read, out.numel())
        return out[(0,) * len(fixed)]


def read_checkpoint(folder: Path) -> TorchDistCheckpoint:
    """Open the folder of one iteration; no values are read.

    Raises ``BrokenCheckpointError`` for files that are missing, broken or of another format, and
    ``UnsafeCheckpointError`` for a pickle that names code.
    """
    check_format(folder)
    tensors, objects = read_metadata(folder)
    return TorchDistCheckpoint(folder, tensors, objects)


def _pickle_of(path: Path) -> bytes:
    """Return the pickle in a file of ``torch.save``; its tensors are left alone."""
    try:
        with ZipFile(path) as opened:
            (entry,) = (one for one in opened.infolist() if one.filename.endswith("/data.pkl"))
            if entry.file_size > MOST_COMMON_BYTES:
                _broken(path, f"its pickle has more than {MOST_COMMON_BYTES} bytes")
            return opened.read(entry)
    except (BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError) as error:
        _broken(path, f"it is not a file of torch.save ({one_line(error)})")


def _check_tiles(key: str, facts: TensorFacts) -> None:
    """Check that chunks lie in the shape, do not overlap, and add up to it."""
    chunks = sorted(facts.chunks, key=lambda one: one.offsets)
    for chunk in chunks:
        n_axes = {len(chunk.offsets), len(chunk.sizes), len(facts.shape)}
        ends = (o + s for o, s in zip(chunk.offsets, chunk.sizes, strict=False))
        if len(n_axes) > 1 or any(e > n for e, n in zip(ends, facts.shape, strict=False)):
            message = (
                f"{key} has the shape {facts.shape}, and a chunk of {chunk.sizes} at "
                f"{chunk.offsets} is not inside. Download or copy the checkpoint again."
            )
            raise BrokenCheckpointError(message)
    n_found = sum(math.prod(chunk.sizes) for chunk in chunks)
    if n_found != math.prod(facts.shape):
        _incomplete(key, n_found, math.prod(facts.shape))
    for number, one in enumerate(chunks):
        for other in chunks[number + 1 :]:
            if other.offsets[:1] >= _ends(one)[:1]:
                break
            if _overlap(one, other):
                message = (
                    f"Two chunks of {key} overlap, at {one.offsets} and {other.offsets}. "
                    "Download or copy the checkpoint again."
                )
                raise BrokenCheckpointError(message)


def _overlap(one: Chunk, other: Chunk) -> bool:
    box = list(zip(one.offsets, _ends(one), strict=True))
    return _common(box, other) is not None


def _common(box: Sequence[tuple[int, int]], chunk: Chunk) -> list[tuple[int, int]] | None:
    """Return the part of a box in a chunk, low and high by axis; ``None`` if there is none."""
    sides = zip(box, chunk.offsets, _ends(chunk), strict=True)
    found = [(max(low, begin), min(high, end)) for (low, high), begin, end in sides]
    return None if any(low >= high for low, high in found) else found


def _slices(box: Sequence[tuple[int, int]], starts: Sequence[int]) -> tuple[slice, ...]:
    """Return the slices of a box in a tensor whose first element is at ``starts``."""
    sides = zip(box, starts, strict=True)
    return tuple(slice(low - start, high - start) for (low, high), start in sides)


def _ends(chunk: Chunk) -> tuple[int, ...]:
    return tuple(o + s for o, s in zip(chunk.offsets, chunk.sizes, strict=True))


def _check_length(key: str, dtype: str, chunk: Chunk) -> None:
    needed = math.prod(chunk.sizes) * (dtype_bytes(dtype) or 1)
    if not needed <= chunk.length <= needed + MOST_EXTRA_BYTES:
        message = (
            f"A chunk of {key} has {chunk.length} bytes, where its shape {chunk.sizes} in {dtype} "
            f"needs {needed} and at most {MOST_EXTRA_BYTES} more. Download or copy the checkpoint "
            "again."
        )
        raise BrokenCheckpointError(message)


def _check_parts(path: Path, parts: list[tuple[int, int, str]]) -> None:
    """Check that a file is long enough for its chunks, which come in the order of their starts."""
    size = path.stat().st_size
    for (_, end, key), following in zip(parts, [*parts[1:], None], strict=True):
        if end > size:
            message = (
                f"{path} ends after {size} bytes, but a chunk of {key} ends at byte {end}. "
                "Download or copy the checkpoint again."
            )
            raise BrokenCheckpointError(message)
        if following is not None and following[0] < end:
            message = (
                f"Chunks of {key} and {following[2]} share bytes of {path}. Download or copy the "
                "checkpoint again."
            )
            raise BrokenCheckpointError(message)


def _incomplete(key: str, n_found: int, n_needed: int) -> NoReturn:
    message = (
        f"{key} is not complete: its chunks have {n_found} of {n_needed} values. Download or copy "
        "the checkpoint again."
    )
    raise BrokenCheckpointError(message)


def _broken(path: Path, why: str) -> NoReturn:
    message = f"{path} cannot be used: {why}. Download or copy the checkpoint again."
    raise BrokenCheckpointError(message)
