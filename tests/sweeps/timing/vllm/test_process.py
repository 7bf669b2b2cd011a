"""A process with an engine that ends by itself, as the process that waits for it sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import EngineFailedError
from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
from moe_eval_plugin.sweeps.timing.vllm import process
from moe_eval_plugin.sweeps.timing.vllm.orders import EngineStart, TimingOrder

if TYPE_CHECKING:
    from pathlib import Path

PLAN = SweepPlan("moe_vllm", "pretrained=demo", ("easy_vqa",), ())
POINT = SweepPoint("k8", "8", is_baseline=True)
# Killed within an answer, while a process of its own still has the pipe.
KILLED = """
import os, signal, subprocess, sys
answers = int(sys.argv[1])
sys.stdin.readline()
os.write(answers, b'{"device": "cpu"}\\n')
sys.stdin.readline()
subprocess.Popen(["sleep", "20"], pass_fds=[answers], stdout=subprocess.DEVNULL)
print("out of memory", flush=True)
os.write(answers, b'{"batches": [')
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_engine_that_is_killed_within_an_answer_is_an_error_with_its_last_lines(
    tmp_path: Path,
) -> None:
    answers, given = os.pipe()
    log = tmp_path / "log"
    with log.open("w") as file:
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(given)],
            stdin=subprocess.PIPE,
            stdout=file,
            pass_fds=[given],
        )
    os.close(given)
    engine = process.EngineProcess(child, answers, log)
    engine.begin(EngineStart.of(PLAN, POINT))
    assert engine.device == "cpu"
    with pytest.raises(EngineFailedError, match="was killed by signal 9") as failed:
        engine.time(TimingOrder("easy_vqa", (0, 1), 4, "8"))
    assert "Blocks that are finished are kept" in str(failed.value)
    assert "out of memory" in str(failed.value)
    engine.end()
    os.close(answers)


def test_an_engine_that_does_not_start_is_an_error_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PROGRAM", "no_such_program")
    with (
        pytest.raises(EngineFailedError, match="ended with 1") as failed,
        process.running_engine(PLAN, POINT, tmp_path),
    ):
        pass
    assert "No module named no_such_program" in str(failed.value)
