"""Checkpoints with any content are read right or refused; nothing runs, nothing else is opened."""

from __future__ import annotations

import argparse
import io
import pickle
import pickletools
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed import checkpoint as dcp

from moe_eval_plugin.conversion.torch_dist.checkpoint import read_checkpoint
from moe_eval_plugin.errors import UnsafeCheckpointError
from tests.fuzz.mutations import Readers, as_json, changed_json, damaged_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.conversion.torch_dist.checkpoint import TorchDistCheckpoint

WEIGHTS = {
    "first": torch.arange(100.0, 112.0).view(3, 4),
    "second": torch.arange(200.0, 206.0).view(2, 3).to(torch.bfloat16),
}
BACKENDS = {
    "sharded_backend": "torch_dist",
    "sharded_backend_version": 1,
    "common_backend": "torch",
    "common_backend_version": 1,
}
METADATA, COMMON, CHUNKS = ".metadata", "common.pt", "__0_0.distcp"
# A file beside the checkpoint, as large as its chunks.
OUTSIDE = "outside.distcp"
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 4, 2**31, 2**40, 2**63, True, 1.5, None, "1"])
NAMES = st.sampled_from(
    [f"../{OUTSIDE}", f"link/{OUTSIDE}", "link", "..", ".", "", "\0", "/etc/passwd", METADATA, 7]
)
# What a hostile file would have the reader call, with an argument that shows that it was called.
CALLS = (
    ("os", "system"),
    ("posix", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("shutil", "rmtree"),
    ("pathlib", "Path"),
    ("numpy", "load"),
    ("importlib", "import_module"),
)
# Names within the packages of checkpoints: a record without behaviour is made of them.
RECORDED = (("torch.distributed.launcher.api", "os.system"), ("megatron.core", "sys.exit"))
RUNNING = ("compile", "exec", "os.exec", "os.posix_spawn", "os.system", "pickle.find_class")
CHANGING = (
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.symlink",
    "socket.connect",
    "subprocess.Popen",
)


@cache
def checkpoint_files() -> dict[str, bytes]:
    """Return the files of a checkpoint that PyTorch wrote."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with pytest.warns(UserWarning, match="single process"):
            dcp.save({**WEIGHTS, "state": [1]}, checkpoint_id=folder, no_dist=True)
        torch.save({"args": argparse.Namespace(hidden_size=4)}, folder / COMMON)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**files, "metadata.json": as_json(BACKENDS)}


class Witness:
    """Sees what the interpreter is asked to do, by its audit events."""

    def __init__(self) -> None:
        self._folder = ""
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    @contextmanager
    def watch(self, folder: Path) -> Iterator[None]:
        self._folder, self.seen = str(folder), []
        try:
            yield
        finally:
            self._folder = ""

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._folder:
            return
        if event in {*RUNNING, *CHANGING}:
            self.seen.append(f"{event} {arguments!r}")
        elif event == "open" and not str(arguments[0]).startswith(self._folder):
            self.seen.append(f"{event} {arguments[0]!r}")


@cache
def witness() -> Witness:
    read(checkpoint_files())  # so that all is imported, as is the encoding of names in a zip
    "a".encode("cp437")
    return Witness()


@dataclass
class Result:
    """What a reader returned of a checkpoint: nothing, if it was refused."""

    tensors: dict[str, torch.Tensor]
    common: Any
    shapes: dict[str, tuple[int, ...]]


def read(files: dict[str, bytes]) -> tuple[Result, Readers]:
    """Return all that can be read of these files, and what was refused."""
    readers = Readers()
    result = Result({}, None, {})

    def whole(folder: Path) -> TorchDistCheckpoint:
        checkpoint = read_checkpoint(folder)
        checkpoint.check(checkpoint.tensors)
        return checkpoint

    with TemporaryDirectory() as name:
        folder = Path(name, "iter_0000001")
        folder.mkdir()
        (folder / "link").symlink_to(folder.parent)
        (folder.parent / OUTSIDE).write_bytes(checkpoint_files()[CHUNKS] if files else b"")
        for file, content in files.items():
            (folder / file).write_bytes(content)
        with witness().watch(folder) if witness.cache_info().currsize else _nothing():
            checkpoint = readers.call(whole, folder)
            if checkpoint is not None:
                result.common = readers.call(lambda: checkpoint.common)
                for key, facts in checkpoint.tensors.items():
                    values = readers.call(checkpoint.read, key)
                    if values is not None:
                        result.tensors[key] = values.clone()
                        result.shapes[key] = facts.shape
    return result, readers


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def check(files: dict[str, bytes]) -> tuple[Result, Readers]:
    """Read, and assert what holds for any file."""
    witness()
    result, readers = read(files)
    assert witness().seen == []
    assert readers.unreadable == []
    for key, values in result.tensors.items():
        assert tuple(values.shape) == result.shapes[key]
    return result, readers


def test_what_pytorch_wrote_is_read() -> None:
    result, readers = check(checkpoint_files())
    assert readers.refusals == []
    assert result.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(result.tensors[key], WEIGHTS[key]) for key in WEIGHTS)
    assert result.common["args"].state == {"hidden_size": 4}


@given(damaged_bytes(checkpoint_files()[METADATA]))
def test_any_bytes_of_the_metadata(content: bytes) -> None:
    result, _ = check({**checkpoint_files(), METADATA: content})
    assert_from_the_file(result)


@given(damaged_bytes(checkpoint_files()[COMMON]))
def test_any_bytes_of_what_processes_share(content: bytes) -> None:
    result, _ = check({**checkpoint_files(), COMMON: content})
    assert all(torch.equal(result.tensors[key], WEIGHTS[key]) for key in WEIGHTS)


@given(damaged_bytes(checkpoint_files()[CHUNKS]))
def test_any_bytes_of_the_chunks(content: bytes) -> None:
    result, _ = check({**checkpoint_files(), CHUNKS: content})
    for key, values in result.tensors.items():
        assert values.dtype == WEIGHTS[key].dtype
        expected = as_pytorch_reads(key, content)
        assert expected is None or torch.equal(values.nan_to_num(), expected.nan_to_num())


@given(changed_json(BACKENDS))
def test_any_values_of_the_format(document: object) -> None:
    result, readers = check({**checkpoint_files(), "metadata.json": as_json(document)})
    assert readers.refusals or result.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(values, WEIGHTS[key]) for key, values in result.tensors.items())


def as_pytorch_reads(key: str, content: bytes) -> torch.Tensor | None:
    """Return a tensor as PyTorch reads it from changed chunks; ``None`` where it cannot."""
    metadata = pickle.loads(checkpoint_files()[METADATA])  # noqa: S301  (written above)
    (info,) = (info for index, info in metadata.storage_data.items() if index.fqn == key)
    stored = io.BytesIO(content[info.offset : info.offset + info.length])
    try:
        found = torch.load(stored, weights_only=True)
    except Exception:  # noqa: BLE001  (of any class)
        return None
    return found if isinstance(found, torch.Tensor) else None


def assert_from_the_file(result: Result) -> None:
    """Assert that no value comes from elsewhere, such as from memory that nobody wrote."""
    stored = {float(value) for tensor in WEIGHTS.values() for value in tensor.flatten()}
    for values in result.tensors.values():
        assert {float(value) for value in values.flatten()} <= stored


@st.composite
def changed_metadata(draw: st.DrawFn) -> bytes:
    """Return the metadata with one to three places changed, as someone with PyTorch can."""
    metadata = pickle.loads(checkpoint_files()[METADATA])  # noqa: S301  (written above)
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(sorted(WEIGHTS)))
        facts = metadata.state_dict_metadata[key]
        stored = [info for index, info in metadata.storage_data.items() if index.fqn == key]
        size = st.lists(NUMBERS, max_size=3).map(tuple)
        places: list[tuple[Any, str, Any]] = [
            (facts, "size", size),
            (facts, "chunks", st.just([*facts.chunks, *facts.chunks])),
            (facts, "properties", st.none()),
            *((chunk, name, size) for chunk in facts.chunks for name in ("offsets", "sizes")),
            *((info, name, NUMBERS) for info in stored for name in ("offset", "length")),
            *((info, "relative_path", NAMES) for info in stored),
        ]
        holder, name, values = draw(st.sampled_from(places))
        object.__setattr__(holder, name, draw(values))
    return pickle.dumps(metadata)


@given(changed_metadata())
def test_metadata_that_lie(content: bytes) -> None:
    result, _ = check({**checkpoint_files(), METADATA: content})
    assert_from_the_file(result)


@st.composite
def with_a_call(draw: st.DrawFn, data: bytes, calls: tuple[tuple[str, str], ...] = CALLS) -> bytes:
    """Return a pickle with a call of a function put between two of its operations."""
    module, name = draw(st.sampled_from(calls))
    begins = [place for _, _, place in pickletools.genops(data) if place and place > 10]
    place = draw(st.sampled_from(begins))
    argument = pickle.dumps(draw(st.sampled_from(["touch called", "1", ()])), 2)[2:-1]
    call = b"c%s\n%s\n(%stR0" % (module.encode(), name.encode(), argument)
    # Without the frame, whose length would not be right any more.
    unframed = data[:2] + data[11:place] + call + data[place:]
    return unframed if draw(st.booleans()) else data[:place] + call + data[place:]


@given(with_a_call(checkpoint_files()[METADATA]))
def test_calls_in_the_metadata_are_not_made(content: bytes) -> None:
    result, readers = check({**checkpoint_files(), METADATA: content})
    assert len(readers.refusals) == 1
    assert not result.tensors


@given(with_a_call(checkpoint_files()[METADATA], RECORDED))
def test_calls_within_known_packages_are_not_made_either(content: bytes) -> None:
    result, _ = check({**checkpoint_files(), METADATA: content})
    assert_from_the_file(result)


def pickle_of(files: bytes) -> tuple[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(files)) as opened:
        (name,) = (one for one in opened.namelist() if one.endswith("/data.pkl"))
        return name, opened.read(name)


@given(with_a_call(pickle_of(checkpoint_files()[COMMON])[1]))
def test_calls_in_what_processes_share_are_not_made(content: bytes) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        opened.writestr(pickle_of(checkpoint_files()[COMMON])[0], content)
    result, readers = check({**checkpoint_files(), COMMON: packed.getvalue()})
    assert len(readers.refusals) == 1
    assert result.common is None


@pytest.mark.parametrize(("module", "name"), CALLS)
def test_a_call_alone_is_named(module: str, name: str, tmp_path: Path) -> None:
    for file, content in checkpoint_files().items():
        (tmp_path / file).write_bytes(content)
    called = f"c{module}\n{name}\n(S'touch called'\ntR.".encode()
    (tmp_path / METADATA).write_bytes(called)
    with pytest.raises(UnsafeCheckpointError, match=f"names {module}.{name}"):
        read_checkpoint(tmp_path)


def test_the_witness_sees_what_it_must(tmp_path: Path) -> None:
    with witness().watch(tmp_path):
        Path(__file__).read_bytes()
        pickle.loads(b"cjson\nloads\n.")  # noqa: S301  (harmless)
    assert [line.split()[0] for line in witness().seen] == ["open", "pickle.find_class"]
