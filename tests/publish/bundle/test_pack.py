"""What goes into a bundle, and that the same run gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.publish.bundle.contents import collect
from moe_eval_plugin.publish.bundle.pack import ROOT, pack
from tests.publish.bundle.finished_sweeps import (
    LOCK,
    members,
    packed,
    write_sweep,
)
from tests.report.report_runs import TASK, write_run

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bundle_has_everything_that_was_left_and_a_checksum_of_each_file(tmp_path: Path) -> None:
    found = members(packed(write_sweep(tmp_path / "sweep"), tmp_path / "sweep.tar.gz"))

    names = {name.removeprefix(f"{ROOT}/") for name in found}
    assert {"README.md", "SHA256SUMS", "bundle.json", "requirements.txt", "study.yaml"} < names
    assert "run/manifest.json" in names
    assert sum(name.endswith("_results.json") for name in names) == 2
    assert sum(name.endswith(f"_samples_{TASK}.jsonl") for name in names) == 2
    lines = found[f"{ROOT}/SHA256SUMS"].decode().splitlines()
    assert {line.split("  ")[1] for line in lines} == names - {"SHA256SUMS"}
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256(found[f"{ROOT}/{name}"]).hexdigest() == digest


def test_files_are_packed_as_they_are(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep")
    found = members(packed(folder, tmp_path / "sweep.tar.gz"))
    for path in folder.rglob("*.json*"):
        assert found[f"{ROOT}/run/{path.relative_to(folder)}"] == path.read_bytes()


def test_the_same_run_gives_the_same_bytes_at_another_time_and_name(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep")
    first = packed(folder, tmp_path / "first.tar.gz")
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    second = packed(folder, tmp_path / "second.tar.gz")
    assert first.read_bytes() == second.read_bytes()


def test_no_time_and_no_owner_stands_in_a_bundle(tmp_path: Path) -> None:
    archive = packed(write_sweep(tmp_path / "sweep"), tmp_path / "sweep.tar.gz")
    flags, time = archive.read_bytes()[3], archive.read_bytes()[4:8]
    assert (flags, time) == (0, bytes(4))
    with tarfile.open(archive) as opened:
        found = opened.getmembers()
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode) for one in found} == {
        (0, 0, 0, "", "", 0o644)
    }
    assert [one.name for one in found] == sorted(one.name for one in found)


def test_sha256sum_itself_accepts_the_checksums(tmp_path: Path) -> None:
    archive = packed(write_sweep(tmp_path / "sweep"), tmp_path / "sweep.tar.gz")
    subprocess.run(["tar", "xf", archive, "-C", tmp_path], check=True)  # noqa: S607
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    checked = subprocess.run(
        command, cwd=tmp_path / ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(": OK") == 9


def test_a_single_run_is_packed_without_a_manifest(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 4)
    found = members(packed(path, tmp_path / "run.tar.gz"))
    about = json.loads(found[f"{ROOT}/bundle.json"])
    assert about["of"] == "run"
    assert list(about["points"]) == ["run"]
    assert f"{ROOT}/{about['points']['run']}" in found
    assert f"{ROOT}/run/manifest.json" not in found


def test_nothing_is_overwritten_unless_it_is_asked_for(tmp_path: Path) -> None:
    output = tmp_path / "run.tar.gz"
    output.write_text("something else", "utf-8")
    contents = collect(write_run(tmp_path / "run", 4), LOCK)
    with pytest.raises(InvalidArgumentError, match="Add --force"):
        pack(contents, LOCK, output)
    assert output.read_text("utf-8") == "something else"
    digest = pack(contents, LOCK, output, force=True)
    assert digest == hashlib.sha256(output.read_bytes()).hexdigest()


def test_a_failure_leaves_no_file_behind(tmp_path: Path) -> None:
    contents = collect(write_run(tmp_path / "run", 4), LOCK)
    for path in contents.files.values():
        if path.suffix == ".jsonl":
            path.unlink()
    with pytest.raises(DataError, match="was not written"):
        pack(contents, LOCK, tmp_path / "out" / "run.tar.gz")
    assert list((tmp_path / "out").iterdir()) == []
