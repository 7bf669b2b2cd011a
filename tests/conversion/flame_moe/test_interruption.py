"""An interrupted conversion is continued, and only what is complete is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.conversion.flame_moe import convert as module
from moe_eval_plugin.conversion.flame_moe.convert import convert_flame_moe
from moe_eval_plugin.conversion.options import ConversionOptions
from moe_eval_plugin.conversion.output.folder import STATE, partial_folder
from moe_eval_plugin.conversion.output.shards import plan_shards
from moe_eval_plugin.errors import BrokenCheckpointError, InvalidArgumentError, UserError
from tests.conftest import ROOT
from tests.conversion.checkpoints import copy, iteration_of

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 60_000
OPTIONS = ConversionOptions()
# Files of at most MOST_BYTES, and the process ends in the middle of the third.
PROGRAM = f"""
import os, signal, sys
from pathlib import Path
from moe_eval_plugin.conversion.flame_moe import convert as module
from moe_eval_plugin.conversion.options import ConversionOptions
from moe_eval_plugin.conversion.output.shards import plan_shards, write_shard

def write(path, shard, values_of, count):
    if "00003" in path.name:
        path.write_bytes(shard.header)
        os.kill(os.getpid(), signal.SIGKILL)
    return write_shard(path, shard, values_of, count)

module.plan_shards = lambda entries: plan_shards(entries, {MOST_BYTES})
module.write_shard = write
module.convert_flame_moe(Path(sys.argv[1]), Path(sys.argv[2]), ConversionOptions())
"""


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "plan_shards", lambda entries: plan_shards(entries, MOST_BYTES))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def interrupt(run: Path, output: Path, monkeypatch: pytest.MonkeyPatch, after: int = 2) -> str:
    """Interrupt a conversion when some files are complete, and return what it says."""
    before = module.write_shard
    written: list[str] = []

    def write(path: Path, *arguments: Any) -> str:
        if len(written) == after:
            path.write_bytes(b"unfinished")
            raise KeyboardInterrupt
        written.append(path.name)
        return before(path, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_shard", write)
        with pytest.raises(KeyboardInterrupt) as stopped:
            convert_flame_moe(run, output, OPTIONS)
    return str(stopped.value)


def test_a_killed_conversion_is_continued(run: Path, tmp_path: Path) -> None:
    whole, output = tmp_path / "whole", tmp_path / "model"
    convert_flame_moe(run, whole, OPTIONS)
    command = [sys.executable, "-c", PROGRAM, str(run), str(output)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    partial = tmp_path / "model.partial"
    kept = sorted(partial.glob("*.safetensors"))
    assert [path.name[:11] for path in kept] == ["model-00001", "model-00002", "model-00003"]
    assert not output.exists()
    os.utime(kept[0], (1, 1))
    convert_flame_moe(run, output, OPTIONS)
    assert not partial.exists()
    assert contents(output) == contents(whole)
    assert output.joinpath(kept[0].name).stat().st_mtime == 1


def test_ctrl_c_says_what_is_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "model"
    said = interrupt(run, output, monkeypatch)
    assert said == (
        f"2 of 4 files of weights are complete in {output}.partial. Run the same command to "
        "continue."
    )
    convert_flame_moe(run, output, OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_nothing_stays_if_nothing_is_complete(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Nothing was kept" in interrupt(run, tmp_path / "model", monkeypatch, after=0)
    assert not [*tmp_path.iterdir()]


def test_a_file_that_changed_is_written_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "model"
    convert_flame_moe(run, whole, OPTIONS)
    interrupt(run, output, monkeypatch)
    first = min((tmp_path / "model.partial").glob("*.safetensors"))
    data = bytearray(first.read_bytes())
    data[-1] ^= 1
    first.write_bytes(data)
    convert_flame_moe(run, output, OPTIONS)
    assert contents(output) == contents(whole)


def test_another_conversion_is_not_continued(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "model"
    interrupt(run, output, monkeypatch)
    with pytest.raises(InvalidArgumentError, match=r"another layout\. Add --restart"):
        convert_flame_moe(run, output, ConversionOptions(layout="qwen2_moe"))
    convert_flame_moe(run, output, ConversionOptions(layout="qwen2_moe", restart=True))
    assert json.loads((output / "config.json").read_text())["model_type"] == "qwen2_moe"


def test_another_source_is_not_continued(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, output = copy(run, tmp_path / "run"), tmp_path / "model"
    interrupt(own, output, monkeypatch)
    (chunks, *_) = iteration_of(own).glob("*.distcp")
    os.utime(chunks, (1, 1))
    with pytest.raises(InvalidArgumentError, match="another source"):
        convert_flame_moe(own, output, OPTIONS)


def test_a_source_that_changes_meanwhile_is_no_source(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, output = copy(run, tmp_path / "run"), tmp_path / "model"
    (chunks, *_) = iteration_of(own).glob("*.distcp")
    before = module.write_shard

    def write(*arguments: Any) -> str:
        os.utime(chunks, (1, 1))
        return before(*arguments)

    monkeypatch.setattr(module, "write_shard", write)
    with pytest.raises(BrokenCheckpointError, match="changed while it was converted"):
        convert_flame_moe(own, output, OPTIONS)
    assert not output.exists()


def test_a_state_that_cannot_be_read_needs_a_restart(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "model"
    interrupt(run, output, monkeypatch)
    (tmp_path / "model.partial" / STATE).write_text("[]")
    with pytest.raises(InvalidArgumentError, match="--restart"):
        convert_flame_moe(run, output, OPTIONS)


def test_two_processes_do_not_write_one_folder(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "model"
    with (
        partial_folder(output, {}),
        pytest.raises(UserError, match="Another process writes"),
    ):
        convert_flame_moe(run, output, OPTIONS)
