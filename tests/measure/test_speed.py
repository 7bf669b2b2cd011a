"""Every rate is exact for batches whose times are known, and what is not known is None."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.measure.speed import Distribution, PhaseTotals, TaskSpeed, summarise
from moe_eval_plugin.measure.timing import BatchTiming, PhaseTimes

STARTS = ("preprocessing", "queue", "call")


def batch(task: str = "a", wall_s: float = 4.0, output: tuple[int, ...] = (1, 3)) -> BatchTiming:
    return BatchTiming(
        task=task,
        n_samples=len(output),
        n_input_tokens=50 * len(output),
        output_tokens=output,
        wall_s=wall_s,
        encode_s=0.5,
        generate_s=3.0,
        phases=PhaseTimes(0.25, 1.0, 1.25, 1.5, 2),
    )


def test_each_rate_is_a_count_by_the_seconds_of_its_phase() -> None:
    speed = summarise([[batch(), batch()]])["a"]
    assert speed.samples_per_s == 4 / 8
    assert speed.output_tokens_per_s == 8 / 8
    assert speed.total_tokens_per_s == 208 / 8
    assert speed.prefill_tokens_per_s == 200 / 2
    assert speed.decode_tokens_per_s == (2 + 2) / 2.5
    assert speed.ttft_s == Distribution(2.0, 2.0, 4)
    assert speed.e2e_latency_s == Distribution(3.5, 3.5, 4)
    assert speed.output_tokens_per_sample == Distribution(2.0, 3.0, 4)


def test_phases_and_gap_add_up_to_the_wall_time() -> None:
    phases = summarise([[batch(), batch(wall_s=6.0)]])["a"].phases
    assert phases == PhaseTotals(0.5, 2.0, 2.5, 5.0, 10.0)
    assert phases.vision_s is not None
    parts = phases.vision_s + phases.prefill_s + phases.decode_s + phases.host_gap_s
    assert parts == phases.wall_s


@pytest.mark.parametrize(("wall_s", "host_bound"), [(3.0, False), (3.125, False), (3.25, True)])
def test_a_gap_of_more_than_a_fifth_is_host_bound(wall_s: float, host_bound: bool) -> None:
    phases = summarise([[batch(wall_s=wall_s)]])["a"].phases
    assert phases is not None
    assert phases.host_bound is host_bound
    assert phases.to_dict()["host_bound"] is host_bound


def test_over_ranks_counts_add_up_and_the_slowest_decides() -> None:
    speed = summarise([[batch()], [batch(), batch()], []])["a"]
    assert (speed.n_samples, speed.wall_s) == (6, 8.0)
    assert speed.samples_per_s == 6 / 8
    assert speed.prefill_tokens_per_s == 300 / 2
    assert speed.ttft_s is not None
    assert speed.ttft_s.n == 6


def test_tasks_are_kept_apart() -> None:
    speeds = summarise([[batch("a"), batch("b", wall_s=8.0)]])
    assert (speeds["a"].wall_s, speeds["b"].wall_s) == (4.0, 8.0)


def test_without_phases_only_the_wall_clock_speaks() -> None:
    speed = summarise([[BatchTiming("a", 2, 100, (1, 1), 4.0)]])["a"]
    assert speed.samples_per_s == 0.5
    unknown = (speed.phases, speed.ttft_s, speed.e2e_latency_s, speed.prefill_tokens_per_s)
    assert unknown == (None, None, None, None)


def test_phases_of_a_part_of_the_batches_are_no_phases() -> None:
    assert summarise([[batch(), BatchTiming("a", 1, 50, (1,), 4.0)]])["a"].phases is None


def test_one_token_answers_have_no_decode_rate() -> None:
    assert summarise([[batch(output=(1, 1))]])["a"].decode_tokens_per_s is None


def test_nothing_run_is_not_measured_rather_than_zero() -> None:
    speed = TaskSpeed(0, None, None, 0.0)
    assert (speed.samples_per_s, speed.output_tokens_per_s) == (None, None)
    assert speed.total_tokens_per_s is None


def test_a_record_is_plain_json() -> None:
    stored = json.loads(json.dumps(summarise([[batch()]])["a"].to_dict()))
    assert stored["phases"]["host_gap_s"] == 1.5
    assert stored["samples_per_s"] == 0.5
    assert stored["ttft_s"] == {"median": 2.0, "p95": 2.0, "n": 2}
    assert stored["latency_from"] == "preprocessing"


def test_latencies_of_different_starts_have_different_names() -> None:
    speed = summarise([[batch()]])["a"]
    assert speed.latencies == {"ttft_s": speed.ttft_s, "e2e_latency_s": speed.e2e_latency_s}
    names = {start: set(replace(speed, latency_from=start).latencies) for start in STARTS}
    assert names["queue"] == {"ttft_from_queue_s", "e2e_latency_from_queue_s"}
    assert len(set.union(*names.values())) == 2 * len(STARTS)


def test_without_a_latency_there_is_no_start_of_one() -> None:
    assert summarise([[BatchTiming("a", 2, 100, (1, 1), 4.0)]])["a"].latency_from is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_a_distribution_is_what_numpy_says(values: list[float]) -> None:
    found = Distribution.of(values)
    assert found is not None
    assert found.median == median(values)
    assert math.isclose(found.p95, float(np.percentile(values, 95)), rel_tol=1e-9, abs_tol=1e-12)


def test_no_values_have_no_distribution() -> None:
    assert Distribution.of([]) is None


def test_of_shared_images_no_time_of_a_request_is_measured() -> None:
    speed = summarise([[replace(batch(), is_shared=True), batch()]])["a"]
    assert speed.is_shared
    assert speed.samples_per_s == 4 / 8
    assert (speed.ttft_s, speed.e2e_latency_s, speed.latency_from) == (None, None, None)
    assert speed.prefill_tokens_per_s is None
    assert not summarise([[batch()]])["a"].is_shared
