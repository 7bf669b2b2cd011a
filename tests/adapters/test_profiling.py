"""What ``profile`` and ``profile_trace`` make of a run: phases that fit, and a trace that loads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.model_adapters.arguments import parse_arguments
from moe_eval_plugin.model_adapters.batch_trace import BatchTrace
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF
from moe_eval_plugin.timing import BatchTiming, read_clock
from tests.adapters.easy_requests import SPLIT, TASK, messages, questions, request, scoring_request

if TYPE_CHECKING:
    from pathlib import Path

    from lmms_eval.api.instance import Instance

    from moe_eval_plugin.recording import Measurements

N_REQUESTS = 8


class Profiled:
    """A model, and the batches of its last run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **arguments: object) -> None:
        self.model = MoEHF(pretrained="demo", batch_size=2, dtype="float32", **arguments)
        self.model.task_dict = {TASK: {SPLIT: questions()}}
        self.batches: list[BatchTiming] = []
        monkeypatch.setattr(self.model, "_record", self.keep)

    def keep(self, measured: Measurements) -> None:
        self.measured = measured
        self.batches.extend(measured.batches)

    def answer(self, n_requests: int = N_REQUESTS) -> list[str]:
        return self.answer_all([request(i) for i in range(n_requests)])

    def answer_all(self, requests: list[Instance]) -> list[str]:
        return [answer.text for answer in self.model.generate_until(requests)]


@pytest.fixture
def basic(monkeypatch: pytest.MonkeyPatch) -> Profiled:
    return Profiled(monkeypatch)


def hooks_of(model: MoEHF) -> int:
    modules = model.engine.model.modules()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def check_fits(batch: BatchTiming) -> None:
    """Check that phases and the gap make up the wall time, and each part is there."""
    assert batch.phases is not None
    assert batch.host_gap_s is not None
    assert batch.phases.busy_s + batch.host_gap_s == pytest.approx(batch.wall_s, rel=0.01)
    assert batch.encode_s is not None
    assert batch.generate_s is not None
    assert batch.encode_s > 0
    assert batch.phases.busy_s <= batch.generate_s <= batch.wall_s
    assert batch.phases.vision_s is not None
    assert batch.phases.vision_s > 0
    assert batch.phases.prefill_s > 0


def test_every_batch_has_its_phases(basic: Profiled) -> None:
    basic.answer()
    assert len(basic.batches) == N_REQUESTS / 2
    for batch in basic.batches:
        check_fits(batch)
        assert batch.phases is not None
        assert batch.phases.n_decode_steps == max(batch.output_tokens) - 1
        assert (batch.phases.decode_s > 0) == (batch.phases.n_decode_steps > 0)
        assert batch.phases.first_token_s is not None
        assert batch.phases.prefill_s < batch.phases.first_token_s < batch.wall_s
        assert batch.phases.first_token_s + batch.phases.decode_s <= batch.generate_s * 1.01


def test_times_add_up_to_the_run_without_its_verification(basic: Profiled) -> None:
    verify, verified_s = basic.model._verify, 0.0

    def timed(jobs: Any) -> None:
        nonlocal verified_s
        begin = read_clock()
        verify(jobs)
        verified_s = read_clock() - begin

    basic.model._verify = timed  # type: ignore[method-assign]
    requests = [request(i % 12) for i in range(48)]
    begin = read_clock()
    basic.answer_all(requests)
    elapsed = read_clock() - begin - verified_s
    assert sum(batch.wall_s for batch in basic.batches) == pytest.approx(elapsed, rel=0.01)


def test_rounds_have_phases_too(basic: Profiled) -> None:
    def rounds(doc: dict[str, Any], round_idx: int | None = None, **_: object) -> Any:
        asked = messages(doc)
        return asked if round_idx is None else (asked, round_idx == 3, None, None)

    basic.model.generate_until_multi_round([request(0, to_messages=rounds)])
    (batch,) = basic.batches
    check_fits(batch)
    assert batch.phases is not None
    assert batch.phases.n_decode_steps == sum(batch.output_tokens) - 3


def test_scoring_has_phases_and_no_first_token(basic: Profiled) -> None:
    basic.model.loglikelihood([scoring_request(0, "red"), scoring_request(1, "a blue circle")])
    for batch in basic.batches:
        check_fits(batch)
        assert batch.phases is not None
        assert (batch.phases.first_token_s, batch.phases.n_decode_steps) == (None, 0)
        assert batch.output_tokens == ()
    short, long = (batch.n_input_tokens for batch in basic.batches)
    assert 16 < short < long


def test_profile_off_attaches_nothing_and_answers_the_same(
    basic: Profiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = Profiled(monkeypatch, profile="off")
    watched: list[int] = []
    for run in (basic, off):
        generate = run.model.engine.generate

        def spy(*arguments: Any, run: Profiled = run, generate: Any = generate) -> Any:
            watched.append(hooks_of(run.model))
            return generate(*arguments)

        monkeypatch.setattr(run.model.engine, "generate", spy)
        monkeypatch.setattr(run.model, "_verify", lambda _jobs: None)
    assert basic.answer(2) == off.answer(2)
    assert watched == [4, 0]
    assert off.batches[0].phases is None
    assert off.batches[0].generate_s is not None
    assert (dict(off.measured.hardware), off.measured.energy) == ({}, None)
    assert basic.measured.hardware[TASK].peak_memory is not None


def test_hooks_are_gone_after_a_run_and_after_a_failed_one(
    basic: Profiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    basic.answer(2)
    assert hooks_of(basic.model) == 0

    def fails(*_: object) -> None:
        message = "the device is gone"
        raise RuntimeError(message)

    monkeypatch.setattr(basic.model.engine, "generate", fails)
    monkeypatch.setattr(basic.model, "_verify", lambda _jobs: None)
    with pytest.raises(SystemExit):
        basic.answer(2)
    assert hooks_of(basic.model) == 0


@pytest.mark.parametrize(
    "given", [{"profile": "all"}, {"profile": ""}, {"profile": 1}, {"profile": False}]
)
def test_a_profile_that_is_not_known_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"profile=.*Use one of: off, basic, full"):
        parse_arguments(given)


def test_a_file_is_no_folder_for_traces(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "traces"):
        with pytest.raises(InvalidArgumentError, match=f"profile_trace={folder} is not possible"):
            parse_arguments({"profile_trace": str(folder)})
    parse_arguments({"profile_trace": str(tmp_path / "new")})
    assert not (tmp_path / "new").exists()


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
