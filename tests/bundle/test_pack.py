"""What goes into a bundle, and that the same run gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.bundle.contents import collect
from moe_eval_plugin.bundle.environment import (
    important_first,
    lock_text,
    locked_versions,
    package_differences,
)
from moe_eval_plugin.bundle.pack import ROOT, pack
from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.sweep.manifest import load_manifest
from tests.bundle.finished_sweeps import (
    LOCK,
    change,
    in_record,
    members,
    packed,
    results_of,
    write_sweep,
)
from tests.report.report_runs import TASK, write_run

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hf_" + "a1B2" * 9


def test_a_bundle_has_everything_that_was_left_and_a_checksum_of_each_file(tmp_path: Path) -> None:
    found = members(packed(write_sweep(tmp_path / "sweep"), tmp_path / "sweep.tar.gz"))

    names = {name.removeprefix(f"{ROOT}/") for name in found}
    assert {"README.md", "SHA256SUMS", "bundle.json", "requirements.txt"} < names
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
    assert checked.stdout.count(": OK") == 8


def test_a_single_run_is_packed_without_a_manifest(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 4)
    found = members(packed(path, tmp_path / "run.tar.gz"))
    about = json.loads(found[f"{ROOT}/bundle.json"])
    assert about["of"] == "run"
    assert list(about["points"]) == ["run"]
    assert f"{ROOT}/{about['points']['run']}" in found
    assert f"{ROOT}/run/manifest.json" not in found


def test_a_sweep_that_is_not_finished_is_refused_with_the_points_that_lack(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep")
    manifest = load_manifest(folder)
    assert manifest is not None
    broken = replace(manifest.entry("k2"), state="failed", results=None, reason="out of memory")
    manifest.change("k2", broken)
    with pytest.raises(DataError, match=r"not finished:\n  k2: failed. out of memory\nRun the"):
        collect(folder, LOCK)


def test_a_point_whose_results_are_gone_is_not_finished(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep")
    results_of(folder, "k8").unlink()
    with pytest.raises(DataError, match=r"k8: its results file k8/demo/\S+ is gone"):
        collect(folder, LOCK)


def test_a_run_without_samples_is_packed_with_a_warning(tmp_path: Path) -> None:
    contents = collect(write_run(tmp_path / "run", 4, samples=False), LOCK)
    assert len(contents.warnings) == 1
    assert f"run has no samples of {TASK}" in contents.warnings[0]
    assert contents.about["warnings"] == list(contents.warnings)


def test_a_samples_file_that_was_cut_off_is_warned_of(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 4)
    (samples,) = path.parent.glob("*.jsonl")
    samples.write_text("".join(samples.read_text("utf-8").splitlines(keepends=True)[:10]), "utf-8")
    assert "has 10 of 40 samples" in collect(path, LOCK).warnings[0]


def test_an_environment_that_changed_since_the_run_is_warned_of(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 4)
    (warning,) = collect(path, LOCK.replace("5.23.0", "5.24.0")).warnings
    assert "transformers 5.23.0 -> 5.24.0" in warning


def test_a_checkpoint_of_this_machine_is_named_with_checksums_and_not_packed(
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", "utf-8")
    (model / "model.safetensors").write_bytes(b"weights")
    contents = collect(write_run(tmp_path / "run", 4, pretrained=str(model)), LOCK)
    checkpoint = contents.about["checkpoint"]
    assert checkpoint["is_local_folder"]
    assert checkpoint["sha256"] == {"config.json": hashlib.sha256(b"{}").hexdigest()}
    assert "is a folder of this machine and not in the bundle" in contents.warnings[0]
    assert not any("safetensors" in name for name in contents.files)


@pytest.mark.parametrize(
    "model_args", ["pretrained=demo,api_key=abc123", f"pretrained=demo,x={SECRET}"]
)
def test_a_run_that_recorded_a_key_is_refused_without_showing_it(
    tmp_path: Path, model_args: str
) -> None:
    path = write_run(tmp_path / "run", 4)

    def give_key(content: dict[str, dict[str, object]]) -> None:
        content["config"]["model_args"] = model_args

    change(path, give_key)
    with pytest.raises(DataError, match="made to be published") as caught:
        packed(path, tmp_path / "run.tar.gz")
    assert "abc123" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_words_that_only_look_like_names_of_keys_are_no_secrets(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 4)

    def harmless(content: dict[str, dict[str, object]]) -> None:
        content["config"]["model_args"] = "pretrained=demo,use_auth_token=True,tokenizer=demo"
        content["config"]["gen_kwargs"] = "max_new_tokens=16,token=None"

    change(path, harmless)
    assert packed(path, tmp_path / "run.tar.gz").is_file()


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


def test_the_page_in_the_bundle_has_commands_that_can_be_pasted(tmp_path: Path) -> None:
    found = members(packed(write_sweep(tmp_path / "sweep"), tmp_path / "sweep.tar.gz"))
    page = found[f"{ROOT}/README.md"].decode()
    assert "sha256sum --check SHA256SUMS" in page
    assert "moe-eval sweep --model moe_hf --model-args pretrained=demo" in page
    assert "--output again\n" in page
    assert "--output_path again/k2\n" in page
    assert "{" not in page


def test_the_lock_names_every_package_once_sorted_and_no_folder_of_this_machine() -> None:
    text = lock_text()
    versions = locked_versions(text)
    assert versions["lmms-eval"] == "0.7.3"
    assert "moe-eval-plugin" in versions
    assert "file:" not in text
    assert list(versions) == sorted(versions)
    assert len(versions) == len(text.splitlines()) - 1


def test_packages_that_numbers_depend_on_come_first_among_differences() -> None:
    before = locked_versions("a==1\nb @ git+https://x/b@c0ffee\ntorch==2.14\n")
    found = package_differences(before, locked_versions("a==2\ntorch==2.15\nnew==1\n"))
    assert important_first(found, ["torch"]) == [
        "torch: 2.14 -> 2.15",
        "a: 1 -> 2",
        "b: git+https://x/b@c0ffee -> absent",
        "new: absent -> 1",
    ]


def test_the_machine_and_the_revision_are_recorded(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep")
    change(
        results_of(folder, "k8"), in_record(lambda one: one["provenance"].update(revision="c0ffee"))
    )
    about = collect(folder, LOCK).about
    assert about["checkpoint"]["revision"] == "c0ffee"
    assert about["machine"]["threads"] == 2
    assert about["code"]["versions"]["lmms-eval"] == "0.7.3"
