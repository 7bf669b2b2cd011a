"""Map the values of a stored chunk: a zip of ``torch.save`` within a file, read without pickle."""

from __future__ import annotations

import io
import math
import mmap
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from moe_eval_plugin.conversion.torch_dist.records import Record, read_records
from moe_eval_plugin.errors import BrokenCheckpointError
from moe_eval_plugin.models.weights.dtypes import dtype_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from moe_eval_plugin.conversion.torch_dist.metadata import Chunk

STORAGE_DTYPES = {
    "torch.BFloat16Storage": "bfloat16",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
}
# A chunk's bytes besides its values: the directory of the zip, and a pickle with shape and type.
MOST_EXTRA_BYTES = 2**16
LOCAL_HEADER_BYTES = 30
# Read at once for the checksum: reading, unlike mapping, keeps no pages in the process.
BYTES_AT_ONCE = 2**20


@dataclass(frozen=True)
class _Stored:
    """Where in the zip the values are, and how they are laid out."""

    begin: int
    n_stored: int
    dtype: str
    first: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    n_bytes: int
    checksum: int


def map_chunk(path: Path, chunk: Chunk, dtype: str, *, is_first: bool = True) -> Tensor:
    """Return the values of a chunk, mapped from the file: only what is used is read.

    The tensor is valid while it is referenced; a change does not reach the file. When a chunk is
    read for the first time, all its bytes are compared with the checksum (CRC-32) stored with them.
    Raises ``BrokenCheckpointError`` if they differ, or if the bytes are not a tensor of the shape
    and type that the metadata promise.
    """
    import torch

    with path.open("rb") as file:
        stored = _read_directory(_Section(file, chunk.start, chunk.length), path, chunk)
        _check(stored, path, chunk, dtype)
        if is_first:
            _check_sum(
                _Section(file, chunk.start + stored.begin, stored.n_bytes), stored, path, chunk
            )
        if math.prod(chunk.sizes) == 0:
            return torch.empty(chunk.sizes, dtype=getattr(torch, dtype))
        begin = chunk.start + stored.begin
        page = begin - begin % mmap.ALLOCATIONGRANULARITY
        n_bytes = stored.n_stored * _width(dtype)
        mapped = mmap.mmap(
            file.fileno(), begin - page + n_bytes, access=mmap.ACCESS_COPY, offset=page
        )
    values = torch.frombuffer(
        mapped, dtype=getattr(torch, dtype), count=stored.n_stored, offset=begin - page
    )
    return values.as_strided(stored.sizes, stored.strides, stored.first)


class _Section(io.RawIOBase):
    """A part of a file, as a file that can be read only."""

    def __init__(self, file: Any, start: int, length: int) -> None:  # noqa: ANN401  (any binary file)
        self._file, self._start, self._length, self._place = file, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._length}
        if bases[whence] + offset < 0:
            message = "a place before the first byte"
            raise ValueError(message)
        self._place = bases[whence] + offset
        return self._place

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  (as the base)
        self._file.seek(self._start + self._place)
        n = max(0, min(len(buffer), self._length - self._place))
        data: bytes = self._file.read(n)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def _read_directory(section: _Section, path: Path, chunk: Chunk) -> _Stored:
    try:
        with zipfile.ZipFile(section) as opened:
            described = [one for one in opened.infolist() if one.filename.endswith("/data.pkl")]
            if len(described) != 1 or described[0].file_size > MOST_EXTRA_BYTES:
                _broken(path, chunk, "it is not one tensor")
            _check_plain(described[0], path, chunk)
            source = f"{path} (chunk at byte {chunk.start})"
            record = read_records(opened.read(described[0]), source)
            storage, first, sizes, strides = _tensor_parts(record)
            folder = described[0].filename.removesuffix("data.pkl")
            entry = opened.getinfo(f"{folder}data/{storage[2]}")
            byte_order = opened.read(f"{folder}byteorder") if _has_order(opened, folder) else b""
        _check_plain(entry, path, chunk)
        if byte_order not in {b"", b"little"}:
            _broken(path, chunk, "its byte order is not little-endian")
        dtype = STORAGE_DTYPES.get(storage[1].made_of, storage[1].made_of)
        begin = _data_start(section, entry)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, IndexError, OSError) as error:
        _broken(path, chunk, f"it is not a stored tensor ({error!s:.100})")
    except (AttributeError, NotImplementedError, RuntimeError, EOFError) as error:
        _broken(path, chunk, f"it is not a stored tensor ({error!s:.100})")
    if begin + entry.file_size > chunk.length:
        _broken(path, chunk, "its values end after it")
    n_stored = entry.file_size // _width(dtype)
    return _Stored(begin, n_stored, dtype, first, sizes, strides, entry.file_size, entry.CRC)


def _tensor_parts(record: Any) -> tuple[Any, int, tuple[int, ...], tuple[int, ...]]:  # noqa: ANN401
    """Return storage, first element, sizes and strides as ``torch.save`` describes a tensor."""
    if isinstance(record, Record) and record.made_of == "torch._utils._rebuild_parameter":
        record = record.arguments[0]
    if not isinstance(record, Record) or record.made_of != "torch._utils._rebuild_tensor_v2":
        message = f"{type(record).__name__} in place of a tensor"
        raise TypeError(message)
    storage, first, sizes, strides = record.arguments[:4]
    numbers = (first, *sizes, *strides)
    if not all(type(one) is int and one >= 0 for one in numbers) or len(sizes) != len(strides):
        message = "its shape is not one of whole numbers"
        raise ValueError(message)
    return storage, first, tuple(sizes), tuple(strides)


def _check_plain(entry: zipfile.ZipInfo, path: Path, chunk: Chunk) -> None:
    """Refuse a compressed entry: torch.save writes none, and it could expand without bound."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        _broken(path, chunk, "it is compressed")


def _has_order(opened: zipfile.ZipFile, folder: str) -> bool:
    name = f"{folder}byteorder"
    return name in opened.namelist() and opened.getinfo(name).file_size < MOST_EXTRA_BYTES


def _data_start(section: _Section, entry: zipfile.ZipInfo) -> int:
    """Return the first byte of an entry's data: after the header, its name and extra fields."""
    section.seek(entry.header_offset)
    header = section.read(LOCAL_HEADER_BYTES) or b""
    if len(header) < LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
        message = "a header is missing"
        raise ValueError(message)
    name_bytes, extra_bytes = (int.from_bytes(header[n : n + 2], "little") for n in (26, 28))
    return entry.header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes


def _check(stored: _Stored, path: Path, chunk: Chunk, dtype: str) -> None:
    if stored.dtype != dtype:
        _broken(path, chunk, f"it holds {stored.dtype}, and the metadata say {dtype}")
    if stored.sizes != chunk.sizes:
        _broken(path, chunk, f"its shape is {stored.sizes}, and the metadata say {chunk.sizes}")
    spans = [(n - 1) * step for n, step in zip(stored.sizes, stored.strides, strict=True)]
    needed = max(stored.first + sum(spans) + 1, math.prod(chunk.sizes))
    if math.prod(chunk.sizes) and needed > stored.n_stored:
        _broken(path, chunk, f"it holds {stored.n_stored} values, where {needed} are needed")


def _check_sum(values: _Section, stored: _Stored, path: Path, chunk: Chunk) -> None:
    found = 0
    while part := values.read(BYTES_AT_ONCE):
        found = zlib.crc32(part, found)
    if found != stored.checksum:
        _broken(path, chunk, "its values are damaged, as their checksum shows")


def _width(dtype: str) -> int:
    return dtype_bytes(dtype) or 1


def _broken(path: Path, chunk: Chunk, why: str) -> NoReturn:
    message = (
        f"The chunk of {chunk.length} bytes at byte {chunk.start} of {path} cannot be used: {why}. "
        "Download or copy the checkpoint again, and compare checksums."
    )
    raise BrokenCheckpointError(message)
