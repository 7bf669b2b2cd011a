"""Ctrl-C ends a command in each of its phases, and says what is saved."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin import cli
from moe_eval_plugin.api.sweeping import ready
from moe_eval_plugin.commands.interruption import interruptible
from moe_eval_plugin.model_adapters import vllm_arguments
from moe_eval_plugin.publish.reproduce import rerun

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SWEEP = ("sweep", "--model-args", "pretrained=demo", "--tasks", "easy_vqa", "--output", "out")


@pytest.fixture
def usual_handler() -> Iterator[None]:
    """The handler of a command that runs on a terminal; test runners may ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


@pytest.mark.usefixtures("usual_handler")
def test_an_interrupt_that_a_library_swallows_ends_the_block() -> None:
    after: list[str] = []

    def importing() -> None:
        with interruptible():
            with contextlib.suppress(BaseException):
                signal.raise_signal(signal.SIGINT)
            after.append("the block goes on")

    with pytest.raises(KeyboardInterrupt):
        importing()
    assert after


@pytest.mark.usefixtures("usual_handler")
def test_an_interrupt_comes_out_at_once() -> None:
    def importing() -> None:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
            pytest.fail("it goes on")

    with pytest.raises(KeyboardInterrupt):
        importing()


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    with interruptible():
        thread = threading.Thread(target=lambda: interruptible().__enter__())
        thread.start()
        thread.join()


@pytest.mark.parametrize("phase", ["check_model", "read_tasks"])
def test_a_sweep_that_has_not_begun_says_so_and_no_other_model_follows(
    phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        begun.append(phase)
        raise KeyboardInterrupt

    begun: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vllm_arguments, "check_installed", lambda: None)
    monkeypatch.setattr(ready, phase, interrupt)
    if phase == "read_tasks":
        monkeypatch.setattr(ready, "check_model", lambda _: _Checked())

    assert cli.main([*SWEEP, "--model", "moe_hf", "moe_vllm"]) == 130

    said = capsys.readouterr().err
    assert begun == [phase]
    assert "Interrupted. No question was asked yet, and the folder keeps what it had." in said


class _Plan:
    host = "lmms-eval"
    batch_size = "auto"


class _Checked:
    baseline_added = False
    plan = _Plan()


def test_a_command_that_writes_at_its_end_says_that_nothing_was_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("moe_eval_plugin.models.inspection.report.inspect_model", interrupt)
    assert cli.main(["inspect", "demo"]) == 130
    said = "Interrupted. Nothing was written. Run the same command to start again.\n"
    assert capsys.readouterr().err.endswith(said)


def test_an_interrupted_command_of_a_bundle_is_not_a_failure_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that it runs in is interrupted too, and ends with its exit code for that."""
    program = "import signal, os; os.kill(os.getpid(), signal.SIGINT)"
    monkeypatch.setattr(rerun.sys, "executable", _script(tmp_path / "python", program))
    command = ["moe-eval", "sweep", "--tasks", "a", "--output", "{output}"]
    with pytest.raises(KeyboardInterrupt):
        rerun.rerun([command], tmp_path, lambda _: None)


def _script(path: Path, program: str) -> str:
    """Write a program that runs in place of Python, whatever its arguments are."""
    path.write_text(f"#!{sys.executable}\n{program}\n")
    path.chmod(0o755)
    return str(path)
