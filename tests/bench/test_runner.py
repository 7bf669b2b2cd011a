"""The order of a bench, and what becomes of a series that runs out of memory."""

from __future__ import annotations

import pytest

from moe_eval_plugin.bench.plan import BenchPlan, BenchSetting
from moe_eval_plugin.bench.runner import measure
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError
from tests.bench.clockwork_engine import STEP_S, TTFT_S, ClockworkEngine


def test_every_rate_of_every_round_is_exact() -> None:
    plan = BenchPlan(experts_k=(8, 2), batch_sizes=(1, 4), prompt_tokens=16, new_tokens=5)
    measured = measure(ClockworkEngine(), plan)
    assert [found.setting for found in measured.points] == list(plan.settings())
    for found in measured.points:
        k, batch = found.setting.experts_k, found.setting.batch_size
        assert k is not None
        assert len(found.repetitions) == 3
        for repetition in found.repetitions:
            assert repetition.ttft_s == TTFT_S
            assert repetition.tpot_s == STEP_S * k
            assert repetition.decode_tokens_per_s == batch / (STEP_S * k)
            assert repetition.prefill_tokens_per_s == batch * 16 / TTFT_S


def test_all_k_are_verified_before_any_is_timed_and_rounds_take_them_in_turn() -> None:
    engine = ClockworkEngine()
    measure(engine, BenchPlan(experts_k=(8, 4), batch_sizes=(1, 2)))
    observed, timed = engine.did[:4], engine.did[4:]
    assert {what for what, *_ in observed} == {"observe"}
    assert {what for what, *_ in timed} == {"run"}
    # A warm-up and three rounds at each batch size, each of them over both k.
    assert [(k, batch) for _, k, batch in timed] == [(8, 1), (4, 1)] * 4 + [(8, 2), (4, 2)] * 4


def test_an_engine_that_cannot_change_k_is_done_with_one_before_the_next() -> None:
    engine = ClockworkEngine(room={8: 1})
    engine.changes_k_live = False
    measured = measure(engine, BenchPlan(experts_k=(8, 4), batch_sizes=(1, 2)))
    assert [k for _, k, _ in engine.did] == [8] * (2 + 4) + [4] * (2 + 8)
    whats = [what for what, k, _ in engine.did if k == 4]
    assert whats == ["observe"] * 2 + ["run"] * 8
    assert [found.setting for found in measured.points] == [
        BenchSetting(8, 1),
        BenchSetting(4, 1),
        BenchSetting(4, 2),
    ]
    assert measured.notes[0].startswith("k=8, batch 2: out of memory")


def test_nothing_is_timed_where_the_model_uses_another_k() -> None:
    engine = ClockworkEngine()
    engine.true_k = 8
    with pytest.raises(OverrideNotEffectiveError):
        measure(engine, BenchPlan(experts_k=(8, 4), batch_sizes=(1,)))
    assert "run" not in {what for what, *_ in engine.did}


def test_full_memory_ends_one_series_and_not_the_run() -> None:
    engine = ClockworkEngine(room={8: 4, 1: 16})
    measured = measure(engine, BenchPlan(experts_k=(8, 1), batch_sizes=(1, 4, 16, 64)))
    points = [
        BenchSetting(8, 1),
        BenchSetting(8, 4),
        BenchSetting(1, 1),
        BenchSetting(1, 4),
        BenchSetting(1, 16),
    ]
    assert [found.setting for found in measured.points] == points
    assert measured.notes == (
        "k=8, batch 16: out of memory (the memory is full); this and larger batches were skipped.",
        "k=1, batch 64: out of memory (the memory is full); this and larger batches were skipped.",
    )


def test_memory_that_ends_while_timing_leaves_smaller_batches_standing() -> None:
    engine = ClockworkEngine()
    plan = BenchPlan(experts_k=(8,), batch_sizes=(1, 4))

    def fill(text: str) -> None:
        if text == "k=8, batch 4: round 2 of 3":
            engine.room[8] = 1

    measured = measure(engine, plan, fill)
    assert [found.setting for found in measured.points] == [BenchSetting(8, 1)]
    assert len(measured.notes) == 1


def test_progress_tells_of_each_generation() -> None:
    told: list[str] = []
    plan = BenchPlan(experts_k=(8,), batch_sizes=(2,))
    measure(ClockworkEngine(), plan, told.append)
    assert told == [
        "k=8, batch 2: observing",
        "k=8, batch 2: warming up",
        *(f"k=8, batch 2: round {number} of 3" for number in (1, 2, 3)),
    ]
    assert len(told) == plan.n_steps
