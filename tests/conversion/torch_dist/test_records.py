"""Pickles of others: what they name is never run, and most of it is refused."""

from __future__ import annotations

import argparse
import builtins
import collections
import os
import pickle
import pickletools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import MetadataIndex

from moe_eval_plugin.conversion.torch_dist.records import MOST_CLASSES, Record, read_records
from moe_eval_plugin.errors import BrokenCheckpointError, UnsafeCheckpointError


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def by_text(module: str, name: str, argument: str) -> bytes:
    """Return a pickle that looks its function up by text from the stack (protocol 4)."""
    texts = b"".join(b"\x8c" + bytes([len(one)]) + one.encode() for one in (module, name))
    return (
        b"\x80\x04"
        + texts
        + b"\x93"
        + b"\x8c"
        + bytes([len(argument)])
        + argument.encode()
        + b"\x85R."
    )


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (Calls(os.system, "touch ran"), "posix.system"),
        (Calls(eval, "open('ran', 'w')"), "builtins.eval"),
        (Calls(exec, "open('ran', 'w')"), "builtins.exec"),
        (Calls(builtins.__import__, "os"), "builtins.__import__"),
        (Calls(getattr, Calls(builtins.__import__, "os"), "system"), "builtins"),
        (Calls(getattr, Path, "touch"), "builtins.getattr"),
        (Calls(subprocess.Popen, ["touch", "ran"]), "subprocess.Popen"),
        (Calls(shutil.rmtree, "."), "shutil.rmtree"),
        (Calls(torch.hub.load, "."), "torch.hub.load"),
        (Calls(torch.load, "ran"), "torch.serialization.load"),
        (Calls(collections.Counter, "ran"), "collections.Counter"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_function_that_is_named_is_refused_and_not_run(
    call: Calls, named: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeCheckpointError, match="was not run") as refused:
        read_records(pickle.dumps({"state": call}, protocol, fix_imports=False), "hostile.pt")
    assert named in str(refused.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("torch.distributedX", "system"),
        ("megatron", "x y"),
        ("torch", "hub.load"),
        ("torch", "FloatStorage.from_file"),
        ("argparse", "os.system"),
        ("torch.distributed.checkpoint", "os;system"),
    ],
)
def test_a_name_that_is_put_together_is_refused(module: str, name: str) -> None:
    with pytest.raises(UnsafeCheckpointError, match="names"):
        read_records(by_text(module, name, "touch ran"), "hostile.pt")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch.distributed.launch", "os.system"),
        ("megatron.core.dist_checkpointing.utils", "builtins.eval"),
        ("torch.distributed.run", "main"),
    ],
)
def test_a_way_through_a_known_package_leads_to_a_record(
    module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = read_records(by_text(module, name, "touch ran"), "hostile.pt")
    assert isinstance(found, Record)
    assert (found.made_of, found.arguments) == (f"{module}.{name}", ("touch ran",))
    assert not (tmp_path / "ran").exists()


def test_what_a_checkpoint_holds_becomes_plain_data() -> None:
    content = {
        "args": argparse.Namespace(num_layers=3, params_dtype=torch.bfloat16),
        "size": torch.Size((2, 3)),
        "names": {"a"},
        "place": MetadataIndex("weight", torch.Size((0, 4))),
        "order": collections.OrderedDict(a=1),
        "device": torch.device("cuda:0"),
    }
    found = read_records(pickle.dumps(content), "common.pt")
    assert found["args"].state == {"num_layers": 3, "params_dtype": "bfloat16"}
    assert found["args"].made_of == "argparse.Namespace"
    assert found["size"] == (2, 3)
    assert found["names"] == {"a"}
    assert found["order"] == {"a": 1}
    assert (found["place"].state["fqn"], found["place"].state["offset"]) == ("weight", (0, 4))
    assert found["device"].arguments == ("cuda", 0)


def test_memory_is_not_reserved_for_what_a_file_only_numbers() -> None:
    huge = b"\x80\x02]r\xff\xff\xff\x7f."
    assert [op.name for op, _, _ in pickletools.genops(huge)][2] == "LONG_BINPUT"
    with pytest.raises(UnsafeCheckpointError, match="numbers an object"):
        read_records(huge, "hostile.pt")


def test_a_container_is_not_copied_again_and_again() -> None:
    values = tuple(range(1000))
    once = Calls(set, values)
    with pytest.raises(UnsafeCheckpointError, match="again and again"):
        read_records(pickle.dumps([once, *(Calls(set, values) for _ in range(1000))]), "hostile.pt")


def test_a_file_with_too_many_classes_is_refused() -> None:
    names = b"".join(f"cmegatron.core\nC{n}\n".encode() for n in range(MOST_CLASSES + 1))
    with pytest.raises(UnsafeCheckpointError, match="classes"):
        read_records(b"\x80\x02(" + names + b"t.", "hostile.pt")


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(list(range(100)))[:50],
        b"",
        b"PK\x03\x04",
        b"\x80\x02ctorch.distributed\nA\n(X\x01\x00\x00\x00aK\x01db.",
        b"\x80\x02ctorch\nfloat32\n)R.",
    ],
    ids=["cut off", "empty", "a zip", "the state of a class", "a call of a data type"],
)
def test_a_broken_pickle_is_an_error_that_names_the_file(data: bytes) -> None:
    with pytest.raises(BrokenCheckpointError, match=r"common\.pt cannot be read as a pickle"):
        read_records(data, "common.pt")


@pytest.mark.parametrize("operation", [b"\x82\x01", b"(cos\nsystem\no", b"(ios\nsystem\n"])
def test_unusual_operations_are_refused(operation: bytes) -> None:
    with pytest.raises(UnsafeCheckpointError):
        read_records(b"\x80\x02" + operation + b".", "hostile.pt")
