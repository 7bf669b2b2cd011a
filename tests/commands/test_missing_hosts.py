"""What commands print where a harness is not installed; tests/packaging has it really absent."""

from __future__ import annotations

import pytest

from moe_eval_plugin.hosts import harness
from tests.cli.programs import moe_eval

SWEEP = ("sweep", "--model-args", "pretrained=demo", "--output", "none", "--tasks")


def without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package of a harness be absent for the commands."""
    monkeypatch.setattr(harness, "is_installed", lambda one: one != name)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("lmms-eval", ("demo",)),
        ("lmms-eval", (*SWEEP, "easy_vqa", "--host", "lmms-eval")),
        ("lmms-eval", ("tasks", "--all", "--host", "lmms-eval")),
        ("lm-eval", ("lm-eval", "run", "--model", "moe_hf", "--tasks", "arc_easy")),
        ("lm-eval", ("lm-eval", "ls", "tasks")),
        ("lm-eval", (*SWEEP, "arc_easy", "--host", "lm-eval")),
        ("lm-eval", ("tasks", "--all", "--host", "lm-eval")),
    ],
)
def test_a_command_names_the_extra_of_the_harness_that_it_needs(
    name: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(name, monkeypatch)
    run = moe_eval(*command)
    assert run.returncode == 2
    (message,) = run.stderr.splitlines()
    start = f'moe-eval: {name} is not installed. Install it: pip install "moe-eval-plugin[{name}]".'
    assert message.startswith(start)
    assert run.stdout == ""


def test_the_other_harness_is_named_only_where_it_can_be_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without("lmms-eval", monkeypatch)
    assert "--host" not in moe_eval("demo").stderr
    chosen = moe_eval("tasks", "--all", "--host", "lmms-eval").stderr
    assert chosen.endswith("Installed is lm-eval: --host lm-eval.\n")


@pytest.mark.parametrize(
    ("absent", "present"), [("lmms-eval", "lm-eval"), ("lm-eval", "lmms-eval")]
)
def test_tasks_are_those_of_the_harness_that_is_there(
    absent: str, present: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(absent, monkeypatch)
    assert f"Any task of {present}" in " ".join(moe_eval("tasks").stdout.split())
    folder = moe_eval("tasks-path").stdout.strip()
    assert folder.endswith(present.replace("-", "_"))
