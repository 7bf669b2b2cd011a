"""``moe-eval convert`` as a user runs it, in the process of the test."""

from __future__ import annotations

import json
import os
import pickle
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.conversion.flame_moe import convert as module
from tests.cli.programs import moe_eval
from tests.conversion.checkpoints import copy, iteration_of, unpack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("0.12.3", tmp_path_factory.mktemp("run"))


class Runs:
    """Pickles as a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def test_the_sizes_the_layout_and_the_next_commands_are_printed(run: Path, tmp_path: Path) -> None:
    ended = moe_eval("convert", "flame-moe", run, "model", cwd=tmp_path)
    assert ended.returncode == 0
    for text in (
        "(iteration 100)",
        "deepseek, float32",
        "54,496 in total, 48,352 for each token",
        "8 per layer; each token uses 6 routed and 2 shared (published as top-8)",
        "Note: There is no tokenizer in the checkpoint.",
        "Next: moe-eval inspect model",
        "Next: moe-eval sweep --host lm-eval --model-args pretrained=model",
    ):
        assert text in ended.stdout
    assert (tmp_path / "model" / "config.json").is_file()


def test_the_options_reach_the_conversion(run: Path, tmp_path: Path) -> None:
    options = ("--layout", "qwen2_moe", "--dtype", "bfloat16", "--iteration", "100", "--quiet")
    ended = moe_eval("convert", "flame-moe", run, "model", *options, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Note:" not in ended.stdout
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["model_type"], config["dtype"]) == ("qwen2_moe", "bfloat16")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "model"), "nowhere is not a folder"),
        (("run", "model", "--iteration", "5"), "iter_0000005 is not there"),
        (("run", "model", "--layout", "olmoe"), "invalid choice: 'olmoe'"),
        (("run", "taken"), "taken exists"),
        (("run", "model", "--tokenizer", "taken"), "has no tokenizer.json"),
        (("run",), "required: OUTPUT"),
    ],
)
def test_a_wrong_request_writes_nothing(
    run: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "run").symlink_to(run)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    ended = moe_eval("convert", "flame-moe", *arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken"]


@pytest.mark.parametrize("name", [".metadata", "common.pt"])
def test_a_hostile_file_is_refused_and_not_run(run: Path, tmp_path: Path, name: str) -> None:
    hostile = copy(run, tmp_path / "run")
    path = iteration_of(hostile) / name
    if name == ".metadata":
        path.write_bytes(pickle.dumps(Runs()))
    else:
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("common/data.pkl", pickle.dumps({"args": Runs()}))
    ended = moe_eval("convert", "flame-moe", hostile, "model", cwd=tmp_path)
    assert ended.returncode == 2
    assert f"{name} names posix.system" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_ctrl_c_ends_with_its_own_code(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_shard", interrupt)
    ended = moe_eval("convert", "flame-moe", run, "model", cwd=tmp_path)
    assert ended.returncode == 130
    assert "Interrupted. Nothing was kept. Run the same command to start again." in ended.stderr


def test_the_help_names_the_layouts() -> None:
    ended = moe_eval("convert", "flame-moe", "--help", COLUMNS=80)
    assert ended.returncode == 0
    assert max(map(len, ended.stdout.splitlines())) <= 80
    for text in ("deepseek ", "qwen2_moe ", "--tokenizer DIR", "moe-eval convert flame-moe runs/"):
        assert text in ended.stdout
