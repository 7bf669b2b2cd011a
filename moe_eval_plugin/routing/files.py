"""Write a routing trace as Parquet files, and read it back.

A folder holds ``tokens.parquet`` and a file for each layer, compressed with zstd. What is no array
is JSON in the metadata of their schemas, under ``METADATA_KEY``. Columns of the tokens are those of
``Tokens``; a layer has ``experts`` and ``scores`` as lists of fixed size, ``entropy`` and ``row``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.files import SHORT_DIGEST_DIGITS
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.routing.trace import TOKEN_TYPES, LayerTrace, RoutingTrace, Tokens
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FORMAT_VERSION = 1
METADATA_KEY = b"moe_eval_routing_trace"
TOKENS_FILE = "tokens.parquet"
LAYER_FILE = re.compile(r"layer-\d+\.parquet")
LAYER_FIELDS = (
    "path",
    "num_experts",
    "num_zero_experts",
    "published_k",
    "ranked_by_score",
    "scores_sum_to_one",
)


def is_trace(folder: Path) -> bool:
    """Whether a folder holds a trace that ``write_trace`` wrote."""
    return (folder / TOKENS_FILE).is_file()


def write_trace(trace: RoutingTrace, folder: Path, *, force: bool = False) -> list[Path]:
    """Write a trace into a folder of its own, whole or not at all, and return the files' paths.

    A folder that holds a trace is replaced with ``force``. Raises ``InvalidArgumentError`` for a
    folder that holds anything else, or a trace without ``force``; and ``DataError`` where the
    folder cannot be written.
    """
    _check_target(folder, force=force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as staging:
            written = Path(staging, "new")
            written.mkdir()
            _write_files(trace, written)
            if folder.exists():
                folder.rename(Path(staging, "old"))
            try:
                written.rename(folder)
            except OSError:
                shutil.move(Path(staging, "old"), folder)
                raise
    except OSError as error:
        message = (
            f"The routing trace cannot be written to {folder}: {one_line(error)}. Choose another "
            "folder with --output."
        )
        raise DataError(message) from error
    return sorted(folder.iterdir())


def read_trace(folder: Path) -> RoutingTrace:
    """Return the trace that ``write_trace`` wrote.

    Raises ``DataError`` for a folder without one, files that are cut off, of another trace, or of
    a later version, and values that are no trace.
    """
    table, facts = _read(folder / TOKENS_FILE)
    names = facts.texts("files")
    outside = [name for name in names if not LAYER_FILE.fullmatch(name)]
    if outside:
        message = f"{facts.source} names {outside[0]!r}, which is no file of a trace."
        raise DataError(message)
    return RoutingTrace(
        model=facts.need_text("model"),
        revision=facts.text("revision"),
        weights=facts.text("weights"),
        tasks=facts.texts("tasks"),
        tokens=Tokens(**{name: _column(table, name, facts.source) for name in TOKEN_TYPES}),
        layers=tuple(_read_layer(folder / name, facts.need_text("id")) for name in names),
        notes=facts.texts("notes"),
    )


def _check_target(folder: Path, *, force: bool) -> None:
    if not folder.exists():
        return
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name]
    others = [name for name in names if name != TOKENS_FILE and not LAYER_FILE.fullmatch(name)]
    if others:
        message = (
            f"{folder} holds something else than a routing trace ({others[0]}). Choose another "
            "folder with --output."
        )
        raise InvalidArgumentError(message)
    if names and not force:
        message = (
            f"{folder} holds a routing trace. Add --force to replace it, or choose another folder "
            "with --output."
        )
        raise InvalidArgumentError(message)


def _write_files(trace: RoutingTrace, folder: Path) -> None:
    import pyarrow as pa

    columns = {name: pa.array(getattr(trace.tokens, name)) for name in TOKEN_TYPES}
    digits = max(2, len(str(len(trace.layers) - 1)))
    names = [f"layer-{number:0{digits}}.parquet" for number in range(len(trace.layers))]
    facts: dict[str, Any] = {
        "id": _identity(trace),
        "model": trace.model,
        "revision": trace.revision,
        "weights": trace.weights,
        "tasks": trace.tasks,
        "notes": trace.notes,
        "files": names,
    }
    _write(columns, facts, folder / TOKENS_FILE)
    for layer, name in zip(trace.layers, names, strict=True):
        about = {field: getattr(layer, field) for field in LAYER_FIELDS}
        _write(_layer_columns(layer), {"id": facts["id"], **about}, folder / name)


def _layer_columns(layer: LayerTrace) -> dict[str, pa.Array]:
    import pyarrow as pa

    columns = {"experts": _lists(layer.experts)}
    if layer.scores is not None:
        columns["scores"] = _lists(layer.scores)
    if layer.entropy is not None:
        columns["entropy"] = pa.array(layer.entropy)
    if layer.rows is not None:
        columns["row"] = pa.array(layer.rows)
    return columns


def _lists(array: NDArray[Any]) -> pa.Array:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


def _write(columns: dict[str, pa.Array], facts: dict[str, Any], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    text = json.dumps({"version": FORMAT_VERSION, **facts})
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: text.encode()})
    parquet.write_table(table, path, compression="zstd", write_page_checksum=True)


def _identity(trace: RoutingTrace) -> str:
    """Return a digest of the tokens and choices, so that files of two traces are told apart."""
    digest = hashlib.sha256(repr((trace.model, trace.revision, trace.weights)).encode())
    digest.update(trace.tokens.token_id.tobytes())
    for layer in trace.layers:
        digest.update(layer.experts.tobytes())
    return digest.hexdigest()[:SHORT_DIGEST_DIGITS]


def _read(path: Path) -> tuple[pa.Table, JsonObject]:
    """Return the table of a file and its metadata; raises ``DataError``."""
    import pyarrow as pa
    from pyarrow import parquet

    if not path.is_file():
        message = f"There is no {path}. Name the folder of a trace that moe-eval routing wrote."
        raise DataError(message)
    try:
        table = parquet.read_table(
            path, memory_map=True, partitioning=None, page_checksum_verification=True
        )
    except (OSError, pa.ArrowException) as error:
        message = (
            f"{path} cannot be read: {one_line(error)}. Use the folder as moe-eval routing wrote "
            "it, or write the trace again."
        )
        raise DataError(message) from error
    try:
        facts = json.loads((table.schema.metadata or {})[METADATA_KEY])
    except (KeyError, ValueError) as error:
        message = f"{path} is no routing trace that moe-eval wrote. Name the folder of one."
        raise DataError(message) from error
    found = JsonObject(facts if isinstance(facts, dict) else {}, str(path))
    version = found.need_integer("version")
    if version > FORMAT_VERSION:
        message = (
            f"{path} has version {version} of the routing trace; this release reads up to "
            f"{FORMAT_VERSION}. Update moe-eval-plugin."
        )
        raise DataError(message)
    return table, found


def _read_layer(path: Path, identity: str) -> LayerTrace:
    table, facts = _read(path)
    if facts.need_text("id") != identity:
        message = (
            f"{path} belongs to another trace than {TOKENS_FILE} beside it. Write the trace again "
            "with moe-eval routing."
        )
        raise DataError(message)
    names = table.column_names
    optional = {
        field: _column(table, column, facts.source) if column in names else None
        for field, column in (("scores", "scores"), ("entropy", "entropy"), ("rows", "row"))
    }
    return LayerTrace(
        path=facts.need_text("path"),
        num_experts=facts.need_integer("num_experts"),
        num_zero_experts=facts.need_integer("num_zero_experts"),
        published_k=facts.need_integer("published_k"),
        experts=_column(table, "experts", facts.source),
        ranked_by_score=facts.flag("ranked_by_score"),
        scores_sum_to_one=facts.flag("scores_sum_to_one"),
        **optional,
    )


def _column(table: pa.Table, name: str, source: str) -> NDArray[Any]:
    """Return a column as an array, ``(rows,)`` or ``(rows, width)``."""
    import pyarrow as pa

    if name not in table.column_names:
        message = f"{source} has no column {name}. Write the trace again with moe-eval routing."
        raise DataError(message)
    column = table.column(name).combine_chunks()
    if column.null_count:
        message = f"{source} has empty values in {name}. Write the trace again."
        raise DataError(message)
    if pa.types.is_fixed_size_list(column.type):
        flat: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), column.type.list_size)
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values
