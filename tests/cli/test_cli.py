"""The console script: its help, its exit codes, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

import pytest

from moe_eval_plugin import cli
from moe_eval_plugin.cli import build_parser
from moe_eval_plugin.commands import lm_eval, tasks_path
from moe_eval_plugin.commands.subcommand import with_dashes
from tests.cli.programs import MOE_EVAL, moe_eval, start
from tests.cli.verbs import VERBS


def test_help_is_quick_and_teaches() -> None:
    before = os.times()
    run = start(MOE_EVAL, "--help")
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
        "heavy = ('torch', 'transformers', 'lmms_eval', 'numpy', 'pluggy')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert start(sys.executable, "-c", program).stdout.strip() == "[]"


@pytest.mark.parametrize("verb", [(), *VERBS], ids=" ".join)
def test_the_help_of_every_verb_fits_into_80_columns(verb: tuple[str, ...]) -> None:
    run = moe_eval(*verb, "--help", COLUMNS=80)
    assert run.returncode == 0
    assert "examples:" in run.stdout
    ours = run.stdout.partition(lm_eval.HOSTS_HELP)[0]
    assert [line for line in ours.splitlines() if len(line) > 80] == []


def test_general_options_come_before_or_after_the_verb() -> None:
    parse = build_parser().parse_args
    for arguments in (["-q", "doctor"], ["doctor", "--quiet"], ["doctor", "-q", "--no-progress"]):
        assert parse(arguments).quiet
        assert parse(arguments).verbose is False
    assert parse(["data", "check", ".", "--no-progress"]).no_progress
    assert parse(["--verbose", "data", "check", "."]).verbose


def test_verbose_shows_the_traceback_of_an_error() -> None:
    quiet, loud = moe_eval("families", "none"), moe_eval("families", "none", "-v")
    assert len(quiet.stderr.splitlines()) == 1
    assert loud.stderr.startswith("Traceback")
    assert loud.stderr.endswith(quiet.stderr)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str) -> None:
    run = moe_eval("completion", shell)
    assert run.returncode == 0
    for word in ("sweep", "experts-k", "no-progress", "num_fewshot"):
        assert word in run.stdout


def test_no_verb_prints_the_help_and_fails() -> None:
    run = moe_eval()
    assert run.returncode == 2
    assert run.stdout.startswith("usage: moe-eval")


def test_version_names_what_matters() -> None:
    run = moe_eval("--version")
    assert run.returncode == 0
    assert run.stdout.splitlines() == [
        f"{name} {metadata.version(name)}"
        for name in ("moe-eval-plugin", "lmms-eval", "lm-eval", "transformers", "torch")
    ]


def test_unknown_verb_is_refused() -> None:
    run = moe_eval("improve")
    assert run.returncode == 2
    assert "improve" in run.stderr


@pytest.mark.parametrize("verb", ["families", "--help"])
def test_reader_that_goes_away_is_no_traceback(verb: str) -> None:
    command = [str(MOE_EVAL), verb]
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
    assert "Interrupted" in capsys.readouterr().err


def test_module_runs_like_the_script() -> None:
    run = start(sys.executable, "-m", "moe_eval_plugin", "--version")
    assert run.stdout.startswith("moe-eval-plugin ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("swep", "Did you mean sweep?"),
        ("help swep", "Did you mean sweep?"),
        ("sweep", "error: the following arguments are required: --tasks, --output."),
        ("sweep --tasks t --outptu o", "Did you mean --output?"),
        ("inspect demo --jsn", "moe-eval inspect: error: unrecognized arguments: --jsn."),
        ("sweep --tasks t --output o --launcher slrum", "Did you mean slurm?"),
    ],
)
def test_a_mistake_is_one_line(arguments: str, said: str) -> None:
    run = moe_eval(*arguments.split())
    assert run.returncode == 2
    assert said in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert "--help`." in run.stderr


def test_help_of_a_verb_is_found_both_ways() -> None:
    assert moe_eval("help", "sweep").stdout == moe_eval("sweep", "--help").stdout
    assert moe_eval("help").stdout == moe_eval("--help").stdout


def test_options_may_be_spelt_as_those_of_lmms_eval() -> None:
    run = moe_eval("inspect", "nowhere/at/all", "--batch_sizes", "8", "--context", "16")
    assert "Cannot find nowhere/at/all" in run.stderr
    assert with_dashes(["--a_b=c_d", "a_b", "-a_b"]) == ["--a-b=c_d", "a_b", "-a_b"]
    assert with_dashes(["--output_path=x_y", "--model_args"]) == ["--output=x_y", "--model-args"]
