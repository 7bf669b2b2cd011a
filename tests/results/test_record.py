"""A record gives its rows and its JSON; what is not known is None there, and never 0."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from moe_eval_plugin.measure.hardware_use import HardwareUse, PeakMemory
from moe_eval_plugin.measure.speed import TaskSpeed
from moe_eval_plugin.results.record import Metric, Score
from moe_eval_plugin.text import GIB
from tests.results.sample_records import experts, record

OUTSIDE = TaskSpeed(8, None, None, 4.0)


def steady(**medians: float | None) -> dict[str, Any]:
    """Make the record of steady decode; ``None`` stands for a point without a rate."""
    points = [
        {
            "batch_size": int(name.removeprefix("at_")),
            "speed": {"decode_tokens_per_s": rate and {"median": rate}},
        }
        for name, rate in medians.items()
    ]
    return {"points": points, "notes": []}


def test_rows_hold_what_was_measured_in_the_unit_of_their_name() -> None:
    known = record(
        hardware=HardwareUse(PeakMemory(None, None, 3 * GIB), joules=7.0),
        score=Score("exact_match", 0.25),
    )
    assert known.rows() == {
        "baseline_num_experts_per_tok": 8,
        "num_experts_per_tok": 2,
        "observed_num_experts_per_tok": 2,
        "samples_per_s": 2 / 4,
        "output_tokens_per_s": 6 / 4,
        "prefill_tokens_per_s": 20 / 0.5,
        "ttft_s_median": 1.5,
        "e2e_latency_s_median": 2.5,
        "n_output_tokens_per_sample": 3,
        "seconds_per_correct_answer": 4 / (0.25 * 2),
        "peak_memory_gib": 3,
        "joules_per_sample": 3.5,
    }


def test_the_json_holds_all_of_it_and_names_its_form() -> None:
    known = record(
        hardware=HardwareUse(PeakMemory(1, 2, 3), joules=7.0),
        score=Score("exact_match", 0.25),
        steady_decode=steady(at_1=10.0),
        extra=(Metric("a", "samples_per_hour", 1800.0), Metric("a", "watts", None)),
    )
    stored = json.loads(json.dumps(known.to_dict()))
    assert stored["schema_version"] == 2
    assert stored["experts"]["n_image_tokens"] == 64
    assert stored["score"] == {"metric": "exact_match", "value": 0.25}
    assert stored["speed"]["samples_per_s"] == 0.5
    assert stored["speed"]["phases"]["host_bound"] is True
    assert stored["speed"]["seconds_per_correct_answer"] == 8
    assert stored["hardware"] == {
        "peak_memory": {"allocated_bytes": 1, "reserved_bytes": 2, "process_bytes": 3},
        "joules": 7,
        "joules_per_sample": 3.5,
    }
    assert stored["steady_decode"] == steady(at_1=10.0)
    assert stored["extra"] == {"samples_per_hour": 1800, "watts": None}


def test_of_a_model_seen_from_outside_only_samples_per_second_are_known() -> None:
    foreign = record(experts=None, speed=OUTSIDE)
    known = {name: value for name, value in foreign.rows().items() if value is not None}
    assert known == {"samples_per_s": 2.0}
    stored = json.loads(json.dumps(foreign.to_dict()))
    assert (stored["experts"], stored["score"], stored["steady_decode"]) == (None, None, None)
    assert stored["hardware"] == {"peak_memory": None, "joules": None, "joules_per_sample": None}
    measured = {"n_samples", "wall_s", "samples_per_s"}
    assert {name for name, value in stored["speed"].items() if value is not None} == measured


def test_memory_on_gpus_counts_before_that_of_the_process() -> None:
    gpu = record(hardware=HardwareUse(PeakMemory(2 * GIB, 4 * GIB, 8 * GIB)))
    assert gpu.rows()["peak_memory_gib"] == 2


@pytest.mark.parametrize("score", [None, Score("exact_match", 0.0)])
def test_without_a_correct_answer_there_are_no_seconds_of_one(score: Score | None) -> None:
    assert record(score=score).seconds_per_correct_answer is None
    assert record(score=score, speed=OUTSIDE).rows()["seconds_per_correct_answer"] is None


def test_nothing_answered_takes_no_seconds_and_no_joules_of_a_sample() -> None:
    nothing = record(
        speed=TaskSpeed(0, 0, 0, 0.0),
        score=Score("exact_match", 1.0),
        hardware=HardwareUse(joules=3.0),
    )
    assert nothing.seconds_per_correct_answer is None
    assert nothing.joules_per_sample is None


@pytest.mark.parametrize(
    ("batch_size", "rate"), [(1, 10.0), (2, 20.0), (3, 20.0), (4, 40.0), (99, 40.0)]
)
def test_steady_decode_is_that_of_the_largest_measured_batch_that_the_run_had(
    batch_size: int, rate: float
) -> None:
    points = steady(at_1=10.0, at_2=20.0, at_4=40.0)
    rows = record(steady_decode=points, provenance={"batch_size": batch_size}).rows()
    assert rows["steady_decode_tokens_per_s"] == rate


@pytest.mark.parametrize("points", [steady(), steady(at_4=40.0), steady(at_1=10.0, at_2=None)])
def test_steady_decode_that_was_not_measured_at_this_size_is_unknown(
    points: dict[str, Any],
) -> None:
    assert record(steady_decode=points).rows()["steady_decode_tokens_per_s"] is None


def test_without_steady_decode_there_is_no_row_of_it() -> None:
    assert "steady_decode_tokens_per_s" not in record().rows()


def test_every_row_with_a_good_end_says_which_one_it_is() -> None:
    known = record(
        steady_decode=steady(at_1=10.0),
        extra=(
            Metric("a", "samples_per_hour", 1800.0, higher_is_better=True),
            Metric("a", "watts", 20.0, higher_is_better=False),
            Metric("a", "colour", 3),
        ),
    )
    directions = known.higher_is_better()
    assert all(directions[name] for name in directions if name.endswith(("_per_s", "_per_hour")))
    lower = {name for name, is_better in directions.items() if not is_better}
    assert lower == {
        "ttft_s_median",
        "e2e_latency_s_median",
        "ttft_from_queue_s_median",
        "e2e_latency_from_queue_s_median",
        "seconds_per_correct_answer",
        "peak_memory_gib",
        "joules_per_sample",
        "watts",
    }
    neither = {name for name in known.rows() if name not in directions}
    assert {name for name in neither if not name.endswith("num_experts_per_tok")} == {
        "n_output_tokens_per_sample",
        "colour",
    }


def test_latencies_that_start_elsewhere_have_rows_of_their_own() -> None:
    from_queue = replace(record().speed, latency_from="queue")
    rows = record(speed=from_queue).rows()
    assert (rows["ttft_from_queue_s_median"], rows["e2e_latency_from_queue_s_median"]) == (1.5, 2.5)
    assert {"ttft_s_median", "e2e_latency_s_median"}.isdisjoint(rows)


def test_a_schedule_has_no_single_k_and_a_row_for_each_modality() -> None:
    mixed = experts(
        requested=None, experts_k="text:8/image:2", observed=4.5, observed_text=8, observed_image=2
    )
    rows = record(experts=mixed).rows()
    assert rows["num_experts_per_tok"] is None
    assert rows["observed_num_experts_per_tok"] == 4.5
    assert rows["observed_num_experts_per_tok_text"] == 8
    assert rows["observed_num_experts_per_tok_image"] == 2


def test_a_model_as_published_shows_its_baseline() -> None:
    published = experts(requested=None, experts_k=None, observed=8)
    assert record(experts=published).rows()["num_experts_per_tok"] == 8


def test_a_dense_model_has_no_expert_rows() -> None:
    dense = experts(requested=None, baseline=None, observed=None, experts_k=None)
    rows = record(experts=dense).rows()
    assert rows["observed_num_experts_per_tok"] is None
    assert rows["num_experts_per_tok"] is None
