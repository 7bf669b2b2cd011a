"""Read the Parquet files of FLAME-MoE's published traces, as many rows as are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

BATCH_ROWS = 65_536


def count_rows(path: Path) -> int:
    """Return the number of rows of a file; raises ``DataError``."""
    with _reading(path) as file:
        return int(file.metadata.num_rows)


def read_token_ids(folder: Path, n_tokens: int) -> NDArray[np.int32]:
    """Return the first token ids of the files of a folder, ``(n_tokens,)`` or fewer."""
    import numpy as np

    parts: list[NDArray[Any]] = [np.empty(0, np.int32)]
    n_left = n_tokens
    for path in sorted(folder.glob("*.parquet")):
        if n_left <= 0:
            break
        for batch in _batches(path, ("token_id",), n_left):
            parts.append(batch.column(0).to_numpy(zero_copy_only=False))
            n_left -= len(batch)
    return np.concatenate(parts).astype(np.int32)


def read_choices(path: Path, n_tokens: int) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Return the experts and scores of the first tokens of a layer, ``(n_tokens, k)`` or fewer.

    Raises ``DataError`` for a file that is cut off, or has other columns.
    """
    import numpy as np

    experts: list[NDArray[np.int16]] = []
    scores: list[NDArray[np.float32]] = []
    for batch in _batches(path, ("indices", "scores"), n_tokens):
        experts.append(_rectangle(batch.column(0), path).astype(np.int16))
        scores.append(_rectangle(batch.column(1), path).astype(np.float32))
    widths = {part.shape[1] for part in experts} | {part.shape[1] for part in scores}
    if len(widths) != 1:
        _fail(path, "its tokens have no experts, or different numbers of them")
    return np.concatenate(experts), np.concatenate(scores)


def _batches(path: Path, columns: tuple[str, ...], n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the first rows of some columns, in batches; raises ``DataError``."""
    import pyarrow as pa

    with _reading(path) as file:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            _fail(path, f"it has no column {missing[0]}, only {', '.join(file.schema_arrow.names)}")
        n_left = n_rows
        try:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
                yield batch.select(list(columns)).slice(0, n_left)
                n_left -= len(batch)
                if n_left <= 0:
                    return
        except (OSError, pa.ArrowException) as error:
            _fail(path, one_line(error))


def _reading(path: Path) -> Any:  # noqa: ANN401  (pyarrow has no types)
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path, memory_map=True)
    except (OSError, pa.ArrowException) as error:
        _fail(path, one_line(error))


def _rectangle(column: pa.Array, path: Path) -> NDArray[Any]:
    """Return a column of lists as an array, ``(rows, length)``."""
    import numpy as np

    if column.null_count or not hasattr(column, "flatten"):
        _fail(path, "a token has no experts")
    lengths = np.unique(np.asarray(column.value_lengths()))
    if len(lengths) > 1:
        _fail(path, f"its tokens have {lengths[0]} to {lengths[-1]} experts")
    width = int(lengths[0]) if len(lengths) else 0
    flat: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), width)


def _fail(path: Path, reason: str) -> NoReturn:
    message = f"{path} cannot be read: {reason}. Download the file again."
    raise DataError(message)
