from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.engines.transformers.batches.profiler_trace import BatchTrace
from tests.hosts.lmms_eval.profiled_runs import Profiled

if TYPE_CHECKING:
    from pathlib import Path


def steps_in(file: Path) -> set[str]:
    events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    names = {event.get("name", "") for event in events}
    assert any(name.startswith("aten::") for name in names)
    return {name for name in names if name.startswith("ProfilerStep#")}


def test_a_trace_shows_a_few_batches_and_not_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Profiled(monkeypatch, profile_trace=str(tmp_path / "traces"))
    run.answer(12)
    (file,) = (tmp_path / "traces").iterdir()
    assert file.name.endswith("_trace_rank0.json")
    assert steps_in(file) == {"ProfilerStep#1", "ProfilerStep#2", "ProfilerStep#3"}
    assert len(run.batches) == 6


def test_a_second_trace_does_not_overwrite_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Profiled(monkeypatch, profile_trace=str(tmp_path))
    run.answer(4)
    run.answer(4)
    assert len(list(tmp_path.iterdir())) == 2
    for file in tmp_path.iterdir():
        assert "ProfilerStep#1" in steps_in(file)
        assert "ProfilerStep#0" not in steps_in(file)


def test_a_run_of_one_batch_leaves_no_trace_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = Profiled(monkeypatch, profile_trace=str(tmp_path / "traces"))
    run.answer(2)
    assert not (tmp_path / "traces").exists()
    assert "No trace was written: the run had 1 batch" in caplog.text


def test_a_trace_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(path: str) -> None:
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write("{")
        raise OSError(28, "No space left on device")

    trace = BatchTrace(tmp_path)
    monkeypatch.setattr(trace._profiler, "export_chrome_trace", full_disk)
    with trace:
        for _ in range(3):
            trace.step()
        with pytest.raises(OSError, match="No space left"):
            trace.step()
    assert list(tmp_path.iterdir()) == []
