"""Traces are written as Parquet, whole or not at all, and read back as they were."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.routing import files
from moe_eval_plugin.routing.files import METADATA_KEY, is_trace, read_trace, write_trace
from tests.routing.traces import trace_of

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.routing.trace import RoutingTrace


def varied_trace() -> RoutingTrace:
    """A trace with everything that a layer may have or lack."""
    trace = trace_of(60, n_layers=3)
    seen = np.arange(1, 60, 2)
    part = trace.layers[1].take(seen, rows=seen, num_experts=6, num_zero_experts=2)
    bare = replace(trace.layers[2], scores=None, entropy=None, ranked_by_score=False)
    return replace(trace, layers=(trace.layers[0], part, bare), notes=("A note.",))


def same(first: object, second: object) -> bool:
    """Whether two frozen records have the same fields, arrays included."""
    for field in fields(first):  # type: ignore[arg-type]
        one, two = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, np.ndarray):
            if one.dtype != two.dtype or not np.array_equal(one, two):
                return False
        elif field.name not in ("tokens", "layers") and one != two:
            return False
    return True


def test_a_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    trace = varied_trace()

    paths = write_trace(trace, tmp_path / "new" / "trace")
    found = read_trace(tmp_path / "new" / "trace")

    assert [path.name for path in paths] == [
        *(f"layer-0{number}.parquet" for number in range(3)),
        "tokens.parquet",
    ]
    assert is_trace(tmp_path / "new" / "trace")
    assert same(found, trace)
    assert same(found.tokens, trace.tokens)
    assert all(map(same, found.layers, trace.layers))
    assert len(found.layers) == 3


def test_the_files_are_parquet_that_anyone_reads(tmp_path: Path) -> None:
    trace = varied_trace()
    write_trace(trace, tmp_path / "trace")

    table = parquet.read_table(tmp_path / "trace" / "layer-01.parquet")

    assert table.column_names == ["experts", "scores", "entropy", "row"]
    assert table.column("experts")[0].as_py() == trace.layers[1].experts[0].tolist()


def test_a_trace_replaces_another_one_only_with_force(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    write_trace(trace_of(40, n_layers=3), folder)

    with pytest.raises(InvalidArgumentError, match=r"holds a routing trace. Add --force"):
        write_trace(trace_of(50), folder)
    write_trace(trace_of(50), folder, force=True)

    assert read_trace(folder).n_tokens == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace"]
    assert len(list(folder.iterdir())) == 3


def test_other_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8")

    with pytest.raises(InvalidArgumentError, match="something else than a routing trace"):
        write_trace(trace_of(40), tmp_path, force=True)

    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_nothing_is_left_where_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "trace"
    write_trace(trace_of(40), folder)
    whole = files._layer_columns

    def full_disk(layer: object) -> object:
        if layer is trace.layers[1]:
            raise OSError(28, "No space left on device")
        return whole(layer)  # type: ignore[arg-type]

    trace = trace_of(50)
    monkeypatch.setattr(files, "_layer_columns", full_disk)
    with pytest.raises(DataError, match=r"cannot be written to .*No space left"):
        write_trace(trace, folder, force=True)

    assert read_trace(folder).n_tokens == 40
    assert [path.name for path in tmp_path.iterdir()] == ["trace"]


@pytest.mark.parametrize("size", [0, 3, 100, -1])
def test_a_file_that_is_cut_off_is_an_error(size: int, tmp_path: Path) -> None:
    write_trace(trace_of(40), tmp_path / "trace")
    path = tmp_path / "trace" / "layer-01.parquet"
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(DataError, match=r"layer-01.parquet cannot be read: .*write the trace ag"):
        read_trace(tmp_path / "trace")


def test_a_changed_byte_is_an_error(tmp_path: Path) -> None:
    write_trace(trace_of(4000, n_layers=1), tmp_path / "trace")
    path = tmp_path / "trace" / "layer-00.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)

    with pytest.raises(DataError, match="cannot be read"):
        read_trace(tmp_path / "trace")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    write_trace(trace_of(40), tmp_path / "trace")
    (tmp_path / "trace" / "layer-00.parquet").unlink()

    with pytest.raises(DataError, match=r"There is no .*layer-00.parquet"):
        read_trace(tmp_path / "trace")
    with pytest.raises(DataError, match=r"There is no .*tokens.parquet"):
        read_trace(tmp_path)


def test_a_layer_of_another_trace_is_an_error(tmp_path: Path) -> None:
    write_trace(trace_of(40), tmp_path / "one")
    write_trace(trace_of(40, seed=1), tmp_path / "two")
    (tmp_path / "two" / "layer-01.parquet").replace(tmp_path / "one" / "layer-01.parquet")

    with pytest.raises(DataError, match="belongs to another trace"):
        read_trace(tmp_path / "one")


def change_facts(path: Path, **changes: object) -> None:
    """Change the metadata of a file."""
    table = parquet.read_table(path)
    facts = json.loads(table.schema.metadata[METADATA_KEY]) | changes
    parquet.write_table(
        table.replace_schema_metadata({METADATA_KEY: json.dumps(facts).encode()}), path
    )


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("tokens.parquet", {"version": 2}, "version 2 of the routing trace.*Update moe-eval"),
        ("tokens.parquet", {"files": ["../other.parquet"]}, "'../other.parquet', which is no"),
        ("tokens.parquet", {"model": 3}, "model is 3, where a string was expected"),
        ("layer-00.parquet", {"published_k": 9}, "published_k=9 is not 1 to 3"),
        ("layer-00.parquet", {"num_experts": 2}, "possible is 0 to 1"),
    ],
)
def test_metadata_that_do_not_fit_are_an_error(
    name: str, changes: dict[str, object], expected: str, tmp_path: Path
) -> None:
    write_trace(trace_of(40), tmp_path / "trace")
    change_facts(tmp_path / "trace" / name, **changes)

    with pytest.raises(DataError, match=expected):
        read_trace(tmp_path / "trace")


def test_a_foreign_parquet_file_is_an_error(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"token_id": [1, 2]}), tmp_path / "tokens.parquet")

    with pytest.raises(DataError, match="is no routing trace that moe-eval wrote"):
        read_trace(tmp_path)


def test_a_column_with_gaps_is_an_error(tmp_path: Path) -> None:
    write_trace(trace_of(40), tmp_path / "trace")
    path = tmp_path / "trace" / "tokens.parquet"
    table = parquet.read_table(path)
    gaps = pa.array([None] * 40, pa.int32())
    parquet.write_table(table.set_column(0, "token_id", gaps), path)

    with pytest.raises(DataError, match="empty values in token_id"):
        read_trace(tmp_path / "trace")
