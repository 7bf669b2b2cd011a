"""What ``profile`` and ``profile_trace`` make of a run: phases that fit, and a trace that loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.measure.timing import BatchTiming, read_clock
from tests.hosts.lmms_eval.easy_requests import (
    TASK,
    messages,
    request,
    scoring_request,
)
from tests.hosts.lmms_eval.profiled_runs import N_REQUESTS, Profiled

if TYPE_CHECKING:
    from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF


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
    # What a run does once, importing for instance, is in no batch.
    in_batches = sum(batch.wall_s for batch in basic.batches)
    assert in_batches == pytest.approx(elapsed, rel=0.01, abs=0.1)


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
