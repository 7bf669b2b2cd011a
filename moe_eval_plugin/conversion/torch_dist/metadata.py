"""Read ``.metadata``: the shape and type of each tensor, and where its chunks are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from moe_eval_plugin.conversion.torch_dist.folder import METADATA, inside
from moe_eval_plugin.conversion.torch_dist.records import Record, read_records
from moe_eval_plugin.errors import BrokenCheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST_METADATA_BYTES = 2**28


@dataclass(frozen=True)
class Chunk:
    """A part of a tensor, and the bytes of a file in which it is stored."""

    offsets: tuple[int, ...]
    """The index of its first element in the tensor."""
    sizes: tuple[int, ...]
    """Its shape."""
    file: str
    """The name of the file."""
    start: int
    """The first byte in the file."""
    length: int
    """Its bytes in the file, with those that describe it."""


@dataclass(frozen=True)
class TensorFacts:
    """What is known of a tensor before its values are read: shape, data type, chunks."""

    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[Chunk, ...]


def read_metadata(folder: Path) -> tuple[dict[str, TensorFacts], frozenset[str]]:
    """Return the tensors of a checkpoint by key, and the keys of its other objects.

    Raises ``BrokenCheckpointError`` for a file that is missing or of another form, and
    ``UnsafeCheckpointError`` for one that names code.
    """
    path = inside(folder, METADATA)
    if path.stat().st_size > MOST_METADATA_BYTES:
        _broken(path, f"it has more than {MOST_METADATA_BYTES} bytes")
    root = read_records(path.read_bytes(), str(path))
    try:
        return _tensors(root)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        _broken(path, f"it does not describe tensors as expected ({error!s:.200})")


def _tensors(root: object) -> tuple[dict[str, TensorFacts], frozenset[str]]:
    described = _typed(_state(root)["state_dict_metadata"], dict)
    stored = _typed(_state(root)["storage_data"], dict)
    sizes: dict[str, dict[tuple[int, ...], tuple[int, ...]]] = {}
    kinds: dict[str, tuple[tuple[int, ...], str]] = {}
    for key, facts in described.items():
        state = _state(facts)
        if "size" not in state:
            continue
        kinds[_typed(key, str)] = _integers(state["size"]), _dtype(state["properties"])
        chunks = [_state(one) for one in _typed(state["chunks"], list)]
        sizes[key] = {_integers(one["offsets"]): _integers(one["sizes"]) for one in chunks}
        if len(sizes[key]) < len(chunks):
            message = f"{key} has two chunks at the same place"
            raise ValueError(message)
    chunks_of: dict[str, list[Chunk]] = {key: [] for key in kinds}
    for index, where in stored.items():
        key = _state(index)["fqn"]
        if key in kinds:
            offsets = _integers(_state(index)["offset"])
            chunks_of[key].append(_chunk(offsets, sizes[key][offsets], _state(where)))
    tensors = {key: TensorFacts(*kinds[key], tuple(chunks_of[key])) for key in kinds}
    return tensors, frozenset(str(key) for key in described if key not in kinds)


def _chunk(offsets: tuple[int, ...], sizes: tuple[int, ...], where: Mapping[str, Any]) -> Chunk:
    if where.get("transform_descriptors"):
        message = "chunks are compressed or encrypted"
        raise ValueError(message)
    start, length = _integers((where["offset"], where["length"]))
    return Chunk(offsets, sizes, _typed(where["relative_path"], str), start, length)


def _dtype(properties: object) -> str:
    """Return the data type; its place in the pickle differs between releases of PyTorch."""
    state = properties.state if isinstance(properties, Record) else None
    found = state[0] if isinstance(state, tuple) else _state(properties)["dtype"]
    dtype: str = _typed(found, str)
    return dtype


def _state(record: object) -> dict[str, Any]:
    state: dict[str, Any] = _typed(_typed(record, Record).state, dict)
    return state


def _integers(values: object) -> tuple[int, ...]:
    found = tuple(values) if isinstance(values, tuple | list) else (values,)
    if not all(type(one) is int and one >= 0 for one in found):
        message = f"{values!r:.80} is not a size"
        raise TypeError(message)
    return found


def _typed(value: Any, type_: type) -> Any:  # noqa: ANN401  (checked here)
    if not isinstance(value, type_):
        message = f"{type(value).__name__} where {type_.__name__} was expected"
        raise TypeError(message)
    return value


def _broken(path: Path, why: str) -> NoReturn:
    message = f"{path} cannot be used: {why}. Download or copy the checkpoint again."
    raise BrokenCheckpointError(message)
