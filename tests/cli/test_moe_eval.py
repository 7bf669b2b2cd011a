"""The console script, as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from transformers import Qwen3MoeConfig

from moe_eval_plugin import cli
from moe_eval_plugin.commands import tasks_path

VERBS = (
    "inspect",
    "sweep",
    "report",
    "bench",
    "compare",
    "export",
    "bundle",
    "reproduce",
    "data",
    "families",
    "doctor",
    "tasks-path",
)
SCRIPT = Path(sys.executable).with_name("moe-eval")


def moe_eval(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture
def model(tmp_path: Path) -> str:
    Qwen3MoeConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        moe_intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_experts=8,
        num_experts_per_tok=4,
    ).save_pretrained(tmp_path)
    return str(tmp_path)


def test_help_is_quick_and_teaches() -> None:
    before = os.times()
    run = moe_eval("--help")
    after = os.times()
    # Processor time, because a busy machine makes everything wait.
    assert after.children_user + after.children_system - sum(before[2:4]) < 1
    assert run.returncode == 0
    for part in (
        "inspect",
        "bench",
        "export",
        "data",
        "families",
        "doctor",
        "tasks-path",
        "examples:",
        "exit codes:",
    ):
        assert part in run.stdout


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from moe_eval_plugin.cli import build_parser; build_parser().format_help(); "
        "print([m for m in ('torch', 'transformers', 'lmms_eval') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_every_verb_has_examples() -> None:
    for verb in VERBS:
        run = moe_eval(verb, "--help")
        assert run.returncode == 0
        assert "examples:" in run.stdout


def test_no_verb_prints_the_help_and_fails() -> None:
    run = moe_eval()
    assert run.returncode == 2
    assert run.stdout.startswith("usage: moe-eval")


def test_version_names_what_matters() -> None:
    run = moe_eval("--version")
    assert run.returncode == 0
    assert run.stdout.splitlines() == [
        f"{name} {metadata.version(name)}"
        for name in ("moe-eval-plugin", "lmms-eval", "transformers", "torch")
    ]


def test_inspect_prints_a_table(model: str) -> None:
    run = moe_eval("inspect", model)
    assert run.returncode == 0, run.stderr
    assert "4 routed + 0 shared = 4" in run.stdout
    assert "2 of 2" in run.stdout


def test_inspect_prints_json_and_nothing_else(model: str) -> None:
    run = moe_eval("inspect", model, "--json")
    report = json.loads(run.stdout)
    assert (report["schema_version"], report["num_experts"], report["n_moe_layers"]) == (1, 8, 2)


@pytest.mark.parametrize("name", ["/no/such/folder", "somebody/not-in-the-cache"])
def test_unknown_model_is_one_line_and_exit_code_2(name: str) -> None:
    run = moe_eval("inspect", name)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines()[-1].startswith(f"moe-eval: pretrained={name}")
    assert "Traceback" not in run.stderr


def test_unknown_verb_is_refused() -> None:
    run = moe_eval("improve")
    assert run.returncode == 2
    assert "improve" in run.stderr


def test_families_prints_a_table() -> None:
    run = moe_eval("families")
    assert run.returncode == 0, run.stderr
    rows = {line.split()[0]: line for line in run.stdout.splitlines() if line}
    assert "text_config.num_experts_per_tok" in rows["qwen3_vl_moe"]
    assert rows["phimoe"].endswith("no: its router takes two arg-max rounds and ignores k")


def test_families_prints_json_and_nothing_else() -> None:
    families = json.loads(moe_eval("families", "--json").stdout)
    proofs = {family["model_type"]: family["proof"] for family in families}
    assert (proofs["qwen3_vl_moe"], proofs["mixtral"]) == ("image", "text")


def test_one_family_is_shown_in_full() -> None:
    run = moe_eval("families", "llama4")
    assert "warning                another k changes the output and not the cost" in run.stdout
    assert json.loads(moe_eval("families", "llama4", "--json").stdout)["kind"] == "vision-language"


def test_an_unknown_family_is_one_line_with_close_names() -> None:
    run = moe_eval("families", "qwen3_vl")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(
        "moe-eval: No family is called qwen3_vl. Close names: qwen3_vl_moe"
    )


def test_families_imports_nothing_heavy() -> None:
    program = (
        "import sys; from moe_eval_plugin.cli import main; main(['families']); "
        "print([m for m in ('torch', 'transformers', 'lmms_eval') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "[]"


def test_doctor_prints_json_and_its_verdict_as_exit_code() -> None:
    run = moe_eval("doctor", "--json")
    checks = json.loads(run.stdout)
    assert run.returncode == int(any(check["status"] == "fail" for check in checks))
    assert {"torch", "torchvision", "demo model"} <= {check["name"] for check in checks}


def test_doctor_fails_when_something_is_wrong() -> None:
    environment = {**os.environ, "MOE_EVAL_DATA": "/no/such/folder"}
    run = subprocess.run(
        [str(SCRIPT), "doctor", "--network"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert run.returncode == 1
    assert "MOE_EVAL_DATA" in run.stdout
    assert "warn  hub" in run.stdout


def test_tasks_path_is_a_folder_of_definitions() -> None:
    run = moe_eval("tasks-path")
    assert run.returncode == 0, run.stderr
    assert list(Path(run.stdout.strip()).glob("*.yaml"))


@pytest.mark.parametrize("verb", [["inspect", "MODEL", "--json"], ["--help"]])
def test_reader_that_goes_away_is_no_traceback(model: str, verb: list[str]) -> None:
    command = [str(SCRIPT), *(model if part == "MODEL" else part for part in verb)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=300) == 141
    assert "BrokenPipe" not in error


def test_interrupt_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_options: object) -> int:
        # What SIGINT raises; a process started in the background may be told to ignore the signal.
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks_path, "run", interrupted)
    assert cli.main(["tasks-path"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_module_runs_like_the_script() -> None:
    command = [sys.executable, "-m", "moe_eval_plugin.cli", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("moe-eval-plugin ")
