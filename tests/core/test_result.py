"""Times are exact with a clock by hand, add up over batches, and the slowest rank decides."""

from __future__ import annotations

import json

import pytest

from moe_eval_plugin.result import RunRecord, TaskSpeed, installed_versions, summarise
from moe_eval_plugin.testing import ManualClock
from moe_eval_plugin.timing import BatchTiming, LapTimer
from moe_eval_plugin.verification import VerifiedOverride


def batch(task: str, n: int, wall_s: float) -> BatchTiming:
    return BatchTiming(
        task, n_samples=n, n_input_tokens=10 * n, output_tokens=(1,) * n, wall_s=wall_s
    )


def experts(**changes: object) -> VerifiedOverride:
    known: dict[str, object] = {
        "requested": 2,
        "baseline": 8,
        "observed": 2,
        "n_layers": 4,
        "n_text_tokens": 100,
        "n_image_tokens": 64,
        "experts_k": "2",
    }
    return VerifiedOverride(**{**known, **changes})  # type: ignore[arg-type]


def test_laps_leave_no_time_out_and_wait_for_the_device() -> None:
    clock, waits = ManualClock(), []
    timer = LapTimer(lambda: (waits.append(1), clock.advance(0.5))[1], clock)
    clock.advance(1.0)
    assert timer.lap() == pytest.approx(1.5)
    clock.advance(2.0)
    assert timer.lap() == pytest.approx(2.5)
    assert len(waits) == 3


def test_a_task_is_the_sum_of_its_batches() -> None:
    speeds = summarise([[batch("a", 4, 2.0), batch("b", 1, 1.0), batch("a", 2, 1.0)]])
    assert speeds["a"] == TaskSpeed(6, 60, 6, 3.0)
    assert speeds["a"].samples_per_s == pytest.approx(2.0)
    assert speeds["b"].samples_per_s == pytest.approx(1.0)


def test_over_ranks_samples_add_up_and_the_slowest_decides() -> None:
    speeds = summarise([[batch("a", 4, 2.0)], [batch("a", 4, 4.0)], []])
    assert speeds["a"].samples_per_s == pytest.approx(2.0)


def test_nothing_run_is_not_measured_rather_than_zero() -> None:
    assert TaskSpeed(0, 0, 0, 0.0).samples_per_s is None


def test_the_record_gives_rows_and_json() -> None:
    record = RunRecord("okvqa", experts(), TaskSpeed(6, 60, 6, 3.0), {"seed": 0})
    assert record.rows() == {
        "baseline_num_experts_per_tok": 8,
        "num_experts_per_tok": 2,
        "observed_num_experts_per_tok": 2,
        "samples_per_s": 2.0,
    }
    stored = json.loads(json.dumps(record.to_dict()))
    assert stored["schema_version"] == 1
    assert stored["experts"]["n_image_tokens"] == 64
    assert stored["speed"]["samples_per_s"] == 2.0


def test_a_schedule_has_no_single_k_and_a_row_for_each_modality() -> None:
    mixed = experts(
        requested=None, experts_k="text:8/image:2", observed=4.5, observed_text=8, observed_image=2
    )
    rows = RunRecord("okvqa", mixed, TaskSpeed(1, 1, 1, 1.0), {}).rows()
    assert rows["num_experts_per_tok"] is None
    assert rows["observed_num_experts_per_tok"] == 4.5
    assert rows["observed_num_experts_per_tok_text"] == 8
    assert rows["observed_num_experts_per_tok_image"] == 2


def test_a_model_as_published_shows_its_baseline() -> None:
    published = experts(requested=None, experts_k=None, observed=8)
    rows = RunRecord("okvqa", published, TaskSpeed(1, 1, 1, 1.0), {}).rows()
    assert rows["num_experts_per_tok"] == 8


def test_a_dense_model_has_no_expert_rows() -> None:
    dense = experts(requested=None, baseline=None, observed=None, experts_k=None)
    rows = RunRecord("okvqa", dense, TaskSpeed(1, 1, 1, 1.0), {}).rows()
    assert rows["observed_num_experts_per_tok"] is None
    assert rows["num_experts_per_tok"] is None


def test_versions_name_what_is_installed() -> None:
    versions = installed_versions()
    assert versions["lmms-eval"] is not None
    assert versions["moe-eval-plugin"] is not None
