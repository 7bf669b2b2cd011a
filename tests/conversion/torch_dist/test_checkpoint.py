"""Checkpoints that Megatron wrote are read exactly, and damaged ones are refused."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from moe_eval_plugin.conversion.torch_dist.checkpoint import read_checkpoint
from moe_eval_plugin.errors import BrokenCheckpointError, UnsafeCheckpointError
from tests.conversion.checkpoints import change_metadata, copy, iteration_of, save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUTER = "decoder.layers.1.mlp.router.weight"
EXPERTS = "decoder.layers.1.mlp.experts.experts.linear_fc1.weight"


def read_by_torch(folder: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    found = {key: torch.empty(shape) for key, shape in shapes.items()}
    dcp.load(found, checkpoint_id=folder, no_dist=True)
    return found


@pytest.mark.filterwarnings("ignore:torch.distributed is")
def test_values_are_those_that_torch_reads(run: Path) -> None:
    checkpoint = read_checkpoint(iteration_of(run))
    shapes = {key: facts.shape for key, facts in checkpoint.tensors.items()}
    checkpoint.check(shapes)
    expected = read_by_torch(iteration_of(run), shapes)
    assert len(expected) == 27
    for key, values in expected.items():
        assert torch.equal(checkpoint.read(key), values), key
        assert torch.equal(checkpoint.read(key, shapes[key][0] - 1), values[-1]), key


def test_releases_of_megatron_write_the_same_weights(each_run: Path, run: Path) -> None:
    checkpoint, other = (read_checkpoint(iteration_of(one)) for one in (each_run, run))
    assert checkpoint.tensors.keys() == other.tensors.keys()
    for key in checkpoint.tensors:
        assert torch.equal(checkpoint.read(key), other.read(key))


def test_a_part_is_read_across_chunks(run: Path) -> None:
    checkpoint = read_checkpoint(iteration_of(run))
    # Of each expert, the gate and the other matrix are chunks of 16 rows each.
    whole = checkpoint.read(EXPERTS)
    assert torch.equal(checkpoint.read(EXPERTS, 3, (10, 20)), whole[3, 10:20])
    assert torch.equal(checkpoint.read(EXPERTS, None, (2, 5)), whole[2:5])
    assert torch.equal(checkpoint.read(EXPERTS, (3, 17)), whole[3, 17])


def test_a_transposed_tensor_is_read_as_it_was(tmp_path: Path) -> None:
    stored = torch.arange(24.0).reshape(4, 6).bfloat16()
    run = save(tmp_path, {"flipped": stored.t(), "scalar": torch.tensor(1.0)}, {})
    checkpoint = read_checkpoint(iteration_of(run))
    assert checkpoint.tensors["flipped"].dtype == "bfloat16"
    assert torch.equal(checkpoint.read("flipped"), stored.t())
    assert torch.equal(checkpoint.read("flipped", 5), stored[:, 5])


def test_arguments_and_objects_are_plain(each_run: Path) -> None:
    checkpoint = read_checkpoint(iteration_of(each_run))
    assert checkpoint.arguments["moe_layer_freq"] == [0, 1, 1]
    assert checkpoint.arguments["params_dtype"] == "float32"
    assert checkpoint.common["iteration"] == 100
    assert "decoder.layers.0.mlp.linear_fc1._extra_state/shard_0_1" in checkpoint.objects


def damaged(run: Path, folder: Path, damage: Callable[[Path], object]) -> Path:
    found = iteration_of(copy(run, folder / "run"))
    damage(found)
    return found


def check_all(folder: Path) -> None:
    checkpoint = read_checkpoint(folder)
    checkpoint.check(checkpoint.tensors)


def router_chunk(folder: Path) -> Any:
    return read_checkpoint(folder).tensors[ROUTER].chunks[0]


def truncate(folder: Path) -> None:
    for path in folder.glob("*.distcp"):
        os.truncate(path, path.stat().st_size // 2)


def remove(folder: Path) -> None:
    (folder / router_chunk(folder).file).unlink()


def replace_by_pipe(folder: Path) -> None:
    remove_me = folder / router_chunk(folder).file
    remove_me.unlink()
    os.mkfifo(remove_me)


def change_storage(**values: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        def change(metadata: Any) -> None:
            (index,) = (one for one in metadata.storage_data if one.fqn == ROUTER)
            found = metadata.storage_data[index]
            metadata.storage_data[index] = dataclasses.replace(found, **values)

        change_metadata(folder, change)

    return damage


def share_bytes(folder: Path) -> None:
    def change(metadata: Any) -> None:
        by_key = {one.fqn: one for one in metadata.storage_data}
        other = by_key[ROUTER.replace(".1.", ".2.")]
        metadata.storage_data[by_key[ROUTER]] = metadata.storage_data[other]

    change_metadata(folder, change)


def drop_chunk(folder: Path) -> None:
    def change(metadata: Any) -> None:
        found = next(one for one in metadata.storage_data if one.fqn == EXPERTS)
        del metadata.storage_data[found]

    change_metadata(folder, change)


def move_chunk(folder: Path) -> None:
    """Let a chunk of the experts begin where another one does, one row later."""

    def change(metadata: Any) -> None:
        one = metadata.state_dict_metadata[EXPERTS].chunks[1]
        (index,) = (
            found
            for found in metadata.storage_data
            if found.fqn == EXPERTS and found.offset == one.offsets
        )
        moved = torch.Size((one.offsets[0], one.offsets[1] - 1, one.offsets[2]))
        metadata.storage_data[dataclasses.replace(index, offset=moved)] = metadata.storage_data.pop(
            index
        )
        one.offsets = moved

    change_metadata(folder, change)


def grow_shape(folder: Path) -> None:
    def change(metadata: Any) -> None:
        facts = metadata.state_dict_metadata[ROUTER]
        facts.size = torch.Size((10**9, facts.size[1]))

    change_metadata(folder, change)


def grow_shape_and_chunk(folder: Path) -> None:
    def change(metadata: Any) -> None:
        facts = metadata.state_dict_metadata[ROUTER]
        facts.size = facts.chunks[0].sizes = torch.Size((10**9, facts.size[1]))

    change_metadata(folder, change)


def negative_shape(folder: Path) -> None:
    def change(metadata: Any) -> None:
        metadata.state_dict_metadata[ROUTER].chunks[0].sizes = torch.Size((-8, -32))

    change_metadata(folder, change)


def compress(folder: Path) -> None:
    def change(metadata: Any) -> None:
        for found in metadata.storage_data.values():
            found.transform_descriptors = ["gzip"]

    change_metadata(folder, change)


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (truncate, BrokenCheckpointError, "ends after"),
        (remove, BrokenCheckpointError, "is missing"),
        (replace_by_pipe, BrokenCheckpointError, "is missing"),
        (change_storage(length=100), BrokenCheckpointError, "has 100 bytes, where its shape"),
        (change_storage(length=10**5), BrokenCheckpointError, "needs 1024 and at most"),
        (change_storage(offset=10**9), BrokenCheckpointError, "ends after"),
        (change_storage(offset=-1), BrokenCheckpointError, "is not a size"),
        (change_storage(relative_path="../../common.pt"), UnsafeCheckpointError, "not in this"),
        (change_storage(relative_path="/etc/passwd"), UnsafeCheckpointError, "not in this"),
        (change_storage(relative_path=".."), UnsafeCheckpointError, "not in this"),
        (change_storage(relative_path="a\0b"), UnsafeCheckpointError, "not in this"),
        (share_bytes, BrokenCheckpointError, "share bytes"),
        (drop_chunk, BrokenCheckpointError, "is not complete"),
        (move_chunk, BrokenCheckpointError, "overlap"),
        (grow_shape, BrokenCheckpointError, "256 of 32000000000 values"),
        (grow_shape_and_chunk, BrokenCheckpointError, "needs 128000000000"),
        (negative_shape, BrokenCheckpointError, "is not a size"),
        (compress, BrokenCheckpointError, "compressed"),
    ],
)
def test_damage_is_found_before_values_are_read(
    run: Path,
    tmp_path: Path,
    damage: Callable[[Path], object],
    error: type[Exception],
    said: str,
) -> None:
    folder = damaged(run, tmp_path, damage)
    with pytest.raises(error, match=said):
        check_all(folder)


def write_chunk(folder: Path, values: object, compression: int = zipfile.ZIP_STORED) -> None:
    """Write a chunk of the router's length over that of the router."""
    chunk = router_chunk(folder)
    path = folder / "other.pt"
    torch.save(values, path)
    if compression != zipfile.ZIP_STORED:
        packed = folder / "packed.pt"
        with zipfile.ZipFile(path) as plain, zipfile.ZipFile(packed, "w", compression) as other:
            for name in plain.namelist():
                other.writestr(name, plain.read(name))
        path = packed
    data = path.read_bytes()
    with (folder / chunk.file).open("r+b") as file:
        file.seek(0, os.SEEK_END)
        start = file.tell()
        file.write(data)
    change_storage(offset=start, length=len(data))(folder)


@pytest.mark.parametrize(
    ("values", "compression", "error", "said"),
    [
        (torch.ones(8, 33), zipfile.ZIP_STORED, BrokenCheckpointError, "its shape is"),
        (torch.ones(8, 32).half(), zipfile.ZIP_STORED, BrokenCheckpointError, "holds float16"),
        (torch.ones(1, 1).expand(8, 32), zipfile.ZIP_STORED, BrokenCheckpointError, "1 values"),
        ([1, 2, 3], zipfile.ZIP_STORED, BrokenCheckpointError, "in place of a tensor"),
        (torch.ones(8, 32), zipfile.ZIP_DEFLATED, BrokenCheckpointError, "compressed"),
        (os.system, zipfile.ZIP_STORED, UnsafeCheckpointError, r"posix\.system"),
    ],
    ids=["shape", "type", "one value repeated", "a list", "compressed", "code"],
)
def test_a_chunk_that_is_something_else_is_refused(
    run: Path,
    tmp_path: Path,
    values: object,
    compression: int,
    error: type[Exception],
    said: str,
) -> None:
    folder = damaged(run, tmp_path, lambda found: write_chunk(found, values, compression))
    with pytest.raises(error, match=said):
        read_checkpoint(folder).read(ROUTER)


def test_bytes_that_are_no_chunk_are_refused(run: Path, tmp_path: Path) -> None:
    def damage(folder: Path) -> None:
        chunk = router_chunk(folder)
        with (folder / chunk.file).open("r+b") as file:
            file.seek(chunk.start)
            file.write(bytes(chunk.length))

    folder = damaged(run, tmp_path, damage)
    with pytest.raises(BrokenCheckpointError, match=r"chunk of 2601 bytes .* is not a stored"):
        read_checkpoint(folder).read(ROUTER)


def test_a_changed_value_is_found_by_its_checksum(run: Path, tmp_path: Path) -> None:
    stored = read_checkpoint(iteration_of(run)).read(ROUTER).numpy().tobytes()

    def damage(folder: Path) -> None:
        path = folder / router_chunk(folder).file
        content = bytearray(path.read_bytes())
        content[content.index(stored) + len(stored) // 2] ^= 1
        path.write_bytes(content)

    folder = damaged(run, tmp_path, damage)
    with pytest.raises(BrokenCheckpointError, match="damaged, as their checksum shows"):
        read_checkpoint(folder).read(ROUTER)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        (json.dumps({"sharded_backend": "zarr"}), "'zarr'; only torch_dist is read"),
    ],
)
def test_another_format_is_refused(run: Path, tmp_path: Path, content: str, said: str) -> None:
    folder = damaged(run, tmp_path, lambda found: (found / "metadata.json").write_text(content))
    with pytest.raises(BrokenCheckpointError, match=said):
        read_checkpoint(folder)


@pytest.mark.parametrize("content", [pickle.dumps({"a": 1}), pickle.dumps([1]), b"\x80\x04."])
def test_metadata_of_another_form_are_refused(run: Path, tmp_path: Path, content: bytes) -> None:
    folder = damaged(run, tmp_path, lambda found: (found / ".metadata").write_bytes(content))
    with pytest.raises(BrokenCheckpointError, match=r"\.metadata"):
        read_checkpoint(folder)


@pytest.mark.parametrize("content", [b"", b"PK", pickle.dumps({})])
def test_common_data_of_another_form_are_refused(run: Path, tmp_path: Path, content: bytes) -> None:
    folder = damaged(run, tmp_path, lambda found: (found / "common.pt").write_bytes(content))
    with pytest.raises(BrokenCheckpointError, match=r"common\.pt"):
        _ = read_checkpoint(folder).arguments
