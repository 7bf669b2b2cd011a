from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.publish.bundle.contents import collect
from tests.publish.bundle.finished_sweeps import (
    LOCK,
    change,
    in_record,
    results_of,
    write_sweep,
)
from tests.report.report_runs import TASK, write_run
from tests.results.lm_eval_files import FOLDER
from tests.results.run_files import FAILURES

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_without_samples_is_packed_with_a_warning(tmp_path: Path) -> None:
    contents = collect(write_run(tmp_path / "run", 4, samples=False), LOCK)
    assert len(contents.description.warnings) == 1
    assert f"run has no samples of {TASK}" in contents.description.warnings[0]
    assert contents.description.to_dict()["warnings"] == list(contents.description.warnings)


def test_a_samples_file_that_was_cut_off_is_warned_of(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 4)
    (samples,) = path.parent.glob("*.jsonl")
    samples.write_text("".join(samples.read_text("utf-8").splitlines(keepends=True)[:10]), "utf-8")
    assert "has 10 of 40 samples" in collect(path, LOCK).description.warnings[0]


def test_each_filter_of_lm_eval_has_a_line_for_each_question(
    repository_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(repository_root / FOLDER, tmp_path / "hf")
    contents = collect(tmp_path / "hf", LOCK)
    assert contents.description.host == "lm-eval"
    assert not contents.description.warnings
    assert len(contents.files) == 5
    (samples,) = (tmp_path / "hf").glob("samples_numbers_*.jsonl")
    samples.write_text("".join(samples.read_text("utf-8").splitlines(keepends=True)[:5]), "utf-8")
    (warning,) = collect(tmp_path / "hf", LOCK).description.warnings
    assert "has 5 of 6 samples" in warning


def test_failed_requests_are_warned_of(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 4)
    (samples,) = path.parent.glob("*.jsonl")
    first, *others = samples.read_text("utf-8").splitlines()
    failed = json.dumps({**json.loads(first), "filtered_resps": FAILURES[0]})
    samples.write_text("\n".join([failed, *others]) + "\n", "utf-8")
    (warning,) = collect(path, LOCK).description.warnings
    assert warning.startswith(f"run, {TASK}: 1 of 40 answers are no answers but messages")


def test_an_environment_that_changed_since_the_run_is_warned_of(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 4)
    (warning,) = collect(path, LOCK.replace("5.23.0", "5.24.0")).description.warnings
    assert "transformers 5.23.0 -> 5.24.0" in warning


def test_a_checkpoint_of_this_machine_is_named_with_checksums_and_not_packed(
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", "utf-8")
    (model / "model.safetensors").write_bytes(b"weights")
    contents = collect(write_run(tmp_path / "run", 4, pretrained=str(model)), LOCK)
    checkpoint = contents.description.checkpoint
    assert checkpoint.is_local_folder
    assert checkpoint.sha256 == {"config.json": hashlib.sha256(b"{}").hexdigest()}
    assert "is a local folder and not in the bundle" in contents.description.warnings[0]
    assert not any("safetensors" in name for name in contents.files)


@pytest.mark.parametrize("pretrained", ["a" * 300, "~nobody-of-that-name/model", "a\0b"], ids=ascii)
def test_a_name_that_no_folder_can_have_is_no_local_folder(tmp_path: Path, pretrained: str) -> None:
    contents = collect(write_run(tmp_path / "run", 4, pretrained=pretrained), LOCK)
    assert not contents.description.checkpoint.is_local_folder


def test_the_machine_and_the_revision_are_recorded(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep")
    change(
        results_of(folder, "k8"), in_record(lambda one: one["provenance"].update(revision="c0ffee"))
    )
    about = collect(folder, LOCK).description.to_dict()
    assert about["checkpoint"]["revision"] == "c0ffee"
    assert about["machine"]["threads"] == 2
    assert about["code"]["versions"]["lmms-eval"] == "0.7.3"
