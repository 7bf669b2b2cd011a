"""What every command refuses before it loads anything, with exit code 2."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi, constants

from moe_eval_plugin import cli
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.shared import task_data
from moe_eval_plugin.model_adapters import vllm_arguments
from moe_eval_plugin.sweeps import early_checks

if TYPE_CHECKING:
    from pathlib import Path

NEW = "sweep --model-args pretrained=demo --output out"
SWEEP = f"{NEW} --tasks easy_vqa"


def refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused; return its message."""
    try:
        code: object = cli.main(arguments.split(" "))
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"{SWEEP} --limit 4.5", "--limit: '4.5' is not a whole number"),
        (f"{SWEEP} --limit 1_0", "--limit: '1_0' is not a whole number"),
        (f"{SWEEP} --limit 4 --limit 8", "--limit: it is given more than once"),
        (f"{SWEEP} --restart --restart", "--restart: it is given more than once"),
        (f"{SWEEP} --device=", "--device: it has no value"),
        (f"{SWEEP} --seeds -1", "--seeds=-1 is not possible"),
        (f"{SWEEP} --input-cache-gib nan", "--input-cache-gib: 'nan' is not a number"),
        (f"{SWEEP} --input-cache-gib -1", "--input-cache-gib=-1.0 is not possible"),
        (f"{SWEEP} --gpus-per-point -1", "--gpus-per-point=-1.0 is not possible"),
        (f"{SWEEP} --processes-per-point 0", "--processes-per-point=0 is not possible"),
        (f"{SWEEP} --include-path nowhere", "--include-path nowhere is not a folder"),
        (f"{SWEEP} --launcher-options a", "--launcher-options a cannot be read"),
        (f"{SWEEP} --launcher-options a=1 a=2", "a is given more than once"),
        (f"{SWEEP} --device gpu", "device=gpu is not possible. Use cpu, cuda"),
        (f"{SWEEP} --batch-size 0", "batch_size=0 is not possible"),
        (f"{SWEEP} --gen-kwargs temperatur=1", "Did you mean temperature?"),
        (f"{SWEEP} --gen-kwargs max_new_tokens=x", "max_new_tokens=x is not possible"),
        ("sweep --tasks , --output out", "--tasks names no task"),
        ("sweep --tasks easy_vqa --output=", "--output: it has no value"),
        ("sweep --tasks easy_vqa --output file", "file is a file. Choose a folder"),
        ("sweep --tasks easy_vqa --output file/below", "file is a file. Choose a folder"),
        ("sweep --tasks t --output o --model-args dtype=auto,dtype=auto", "given more than once"),
        ("sweep --tasks t --output o --model-args pretrained=", "pretrained has no value"),
        ("sweep --tasks easy_vqa --output o", "--model-args names none. Add pretrained=MODEL"),
        (f"{SWEEP} --model moe_hg", "Did you mean moe_hf?"),
        (
            "sweep --tasks easy_vqa --output o --model-args pretraned=demo",
            "Did you mean pretrained?",
        ),
        (f"{NEW} --tasks esy_vqa", "No task is called esy_vqa. Did you mean easy_vqa?"),
        (f"{SWEEP} --experts-k 40", "experts_k=40 is too many. Use 1 to 32"),
        ("sweep --tasks easy_vqa --output o --model-args pretrained=./no", "Cannot find ./no"),
        (
            "sweep --tasks t --output o --model-args pretrained=demo,trust_remote_code=maybe",
            "trust_remote_code=maybe is not possible. Use true or false",
        ),
        ("bench demo --seed -1", "--seed=-1 is not possible"),
        ("bench demo --revision=", "--revision: it has no value"),
        ("bench demo --revision main", "revision=main has no effect on demo"),
        ("bench demo --output .", "it is a folder. Write the name of a file"),
        ("bench demo --device gpu", "device=gpu is not possible"),
        ("bench demo --attn-implementation fast", "Use one of: eager, "),
        ("bench demo --random-weights --config hidden_size=", "hidden_size has no value"),
        ("bench demo --random-weights --config a=1 a=2", "a is given more than once"),
        ('bench demo --random-weights --config v={"d":1,"d":2}', "d is given more than once"),
        ("inspect demo --plot folder", "it is a folder. Write the name of a file"),
        ("inspect demo --revision main", "revision=main has no effect on demo"),
        ("compare a b --within nan", "--within: 'nan' is not a number"),
        ("compare a b --list file/list.csv", "file is a file"),
        ("report out --output file/report.html", "file is a file"),
        ("bundle out --output file/out.tar.gz", "file is a file"),
        ("export --format csv out --output file", "file is a file. Choose a folder"),
        ("export --format= out", "--format: it has no value"),
    ],
)
def test_a_wrong_option_is_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert message in refused(arguments, capsys)
    assert not (tmp_path / "out").exists()


LIGHT = """
import sys
from moe_eval_plugin.cli import main
for line in sys.stdin.read().splitlines():
    try:
        code = main(line.split())
    except SystemExit as ended:
        code = ended.code
    heavy = {"torch", "transformers", "datasets", "lmms_eval.tasks"} & set(sys.modules)
    print(code, sorted(heavy), line)
"""


def test_mistakes_are_refused_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    mistakes = (
        "sweep --tasks easy_vqa --output o --model-args pretraned=demo",
        "sweep --tasks easy_vqa --output o",
        f"{NEW} --tasks esy_vqa",
        f"{SWEEP} --model moe_hg",
        f"{SWEEP} --device gpu",
        f"{SWEEP} --experts-k 40",
        f"{SWEEP} --experts-policy nothing",
        "inspect ./no",
        "inspect demo --context 0",
    )
    answered = ("inspect demo", "families", f"{SWEEP} --dry-run")
    run = subprocess.run(
        [sys.executable, "-c", LIGHT],
        input="\n".join((*mistakes, *answered)),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    printed = run.stdout.splitlines()
    assert printed[: len(mistakes)] == [f"2 [] {line}" for line in mistakes]
    for line in answered:
        assert f"0 [] {line}" in printed
    assert "4 settings, the published k first:" in printed


def test_a_sweep_on_vllm_needs_vllm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vllm_arguments, "find_spec", lambda _: None)
    assert "needs vLLM, which is not installed" in refused(f"{SWEEP} --model moe_vllm", capsys)


def test_data_that_can_be_nowhere_are_asked_for_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        asked.append(1)
        message = "[Errno -2] Name or service not known"
        raise ConnectionError(message)

    asked: list[int] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOE_EVAL_DATA", raising=False)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(HfApi, "dataset_info", unreachable)
    said = refused(f"{NEW} --tasks okvqa", capsys)
    assert "okvqa needs the data set lmms-lab/OK-VQA, which could not be loaded from" in said
    assert "Name or service not known. Set MOE_EVAL_DATA to a folder that holds" in said
    (tmp_path / "hub" / "datasets--lmms-lab--OK-VQA").mkdir(parents=True)
    task_data.check_data(early_checks._definitions(["okvqa"], "lmms-eval"))
    assert len(asked) == 1


def test_names_of_engine_arguments_are_read_from_the_source_of_vllm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "engine" / "arg_utils.py"
    source.parent.mkdir()
    source.write_text(
        "class EngineArgs:\n    max_model_len: int = 0\n\nx.add_argument('--enforce-eager')\n"
    )
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(vllm_arguments, "find_spec", lambda _: spec)
    vllm_arguments.check_names_in_source(["pretrained", "max_model_len", "enforce_eager", "device"])
    with pytest.raises(InvalidArgumentError, match=r"max_model_lem.*Did you mean max_model_len\?"):
        vllm_arguments.check_names_in_source(["max_model_lem"])
    with pytest.raises(InvalidArgumentError, match="renorm is not possible with moe_vllm"):
        vllm_arguments.check_names_in_source(["renorm"])
