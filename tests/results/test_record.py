"""A record gives its rows and its JSON; what is not known is None there, and never 0."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.measure.hardware_use import HardwareUse, PeakMemory
from moe_eval_plugin.measure.speed import TaskSpeed
from moe_eval_plugin.results.record import Metric, RunRecord, Score
from moe_eval_plugin.results.setup import Machine
from moe_eval_plugin.results.steady_decode import SpeedSummary, SteadyDecode, SteadyPoint
from moe_eval_plugin.stats.speed import Spread
from moe_eval_plugin.text import GIB
from tests.results.sample_records import experts, record

OUTSIDE = TaskSpeed(8, None, None, 4.0)


def steady(**medians: float | None) -> SteadyDecode:
    """Make the record of steady decode; ``None`` stands for a point without a rate."""
    return SteadyDecode(
        tuple(
            SteadyPoint(int(name.removeprefix("at_")), 2.0, None, _summary(rate))
            for name, rate in medians.items()
        ),
        ("memory ended",),
    )


def _summary(rate: float | None) -> SpeedSummary:
    spread = None if rate is None else Spread(rate, rate, rate, 3)
    unknown = dict.fromkeys(
        ("ttft_s", "tpot_s", "e2e_latency_s", "prefill_tokens_per_s", "output_tokens_per_s")
    )
    return SpeedSummary(
        3, **unknown, decode_tokens_per_s=spread, joules_per_output_token=None, peak_memory_bytes=9
    )


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
    assert stored["steady_decode"]["points"][0]["speed"]["decode_tokens_per_s"]["median"] == 10
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


def test_answers_of_a_cache_are_counted_and_have_no_seconds_per_correct_answer() -> None:
    partly = record(score=Score("exact_match", 0.5), n_answers_from_cache=11)
    assert partly.rows()["n_answers_from_cache"] == 11
    assert partly.seconds_per_correct_answer is None
    assert "n_answers_from_cache" not in record(n_answers_from_cache=0).rows()


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
    points: SteadyDecode,
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
        "task_seconds_per_correct_answer",
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


def stored(known: RunRecord) -> JsonObject:
    return JsonObject(json.loads(json.dumps(known.to_dict())), "a_results.json", "moe_eval.a")


def full_record() -> RunRecord:
    """Make a record in which every part is known."""
    return record(
        experts=experts(observed_text=2.0, observed_image=2.0, routing=ROUTING),
        hardware=HardwareUse(PeakMemory(1, 2, 3), joules=7.0),
        score=Score("exact_match", 0.25),
        steady_decode=steady(at_1=10.0),
        extra=(Metric("a", "samples_per_hour", 1800.0), Metric("a", "watts", None)),
        provenance={
            "pretrained": "demo",
            "batch_size": 2,
            "n_ranks": 1,
            "versions": {"torch": "2.15.0", "vllm": None},
            "hardware": {"kind": "cpu", "name": "a processor", "threads": 4},
            "encode_s": {"a": 1.5},
        },
    )


ROUTING = {
    "n_tokens": {"prefill": {"text": 60, "image": 40}, "decode": {"text": 100, "image": 0}},
    "layers": {
        "layers.0.mlp": {
            "num_experts": 8,
            "observed_num_experts_per_tok": {
                "prefill": {"text": 4.0, "image": 2.0},
                "decode": {"text": 1.0, "image": None},
            },
            "load": {"entropy": 0.5},
            "distinct_experts_per_step": {"prefill": {"mean": 6.0}, "decode": None},
        }
    },
}


@pytest.mark.parametrize("known", [record(), full_record(), record(experts=None, speed=OUTSIDE)])
def test_a_stored_record_is_read_back_as_what_was_written(known: RunRecord) -> None:
    again = RunRecord.from_dict(stored(known))
    assert again == known
    assert again.to_dict() == known.to_dict()
    assert again.rows() == known.rows()


def test_what_it_was_made_with_and_its_layers_have_types() -> None:
    known = RunRecord.from_dict(stored(full_record()))
    assert (known.setup.pretrained, known.setup.n_ranks) == ("demo", 1)
    assert known.setup.versions == {"torch": "2.15.0", "vllm": None}
    assert known.setup.machine == Machine(kind="cpu", name="a processor", threads=4)
    assert known.setup.encode_s == {"a": 1.5}
    assert known.experts is not None
    (layer,) = known.experts.layers
    assert (layer.path, layer.num_experts, layer.load_entropy) == ("layers.0.mlp", 8, 0.5)
    assert layer.observed_num_experts_per_tok == (60 * 4 + 40 * 2 + 100 * 1) / 200
    assert (layer.distinct_experts_per_prefill, layer.distinct_experts_per_decode_step) == (6, None)


def test_the_first_form_of_a_record_is_read() -> None:
    first = {
        "schema_version": 1,
        "task": "a",
        "experts": {
            "requested": 4,
            "baseline": 8,
            "observed": 4,
            "n_layers": 4,
            "n_text_tokens": 10,
            "n_image_tokens": 6,
        },
        "speed": {
            "n_samples": 2,
            "n_input_tokens": 20,
            "n_output_tokens": 4,
            "wall_s": 4.0,
            "samples_per_s": 0.5,
        },
        "provenance": {"pretrained": "demo"},
    }
    known = RunRecord.from_dict(JsonObject(first))
    assert known.experts is not None
    assert (known.experts.requested, known.experts.experts_policy) == (4, "uniform")
    assert (known.speed.samples_per_s, known.speed.ttft_s, known.score) == (0.5, None, None)
    assert (known.hardware, known.speed.latency_from) == (HardwareUse(), None)


@pytest.mark.parametrize(("backend", "start"), [("vllm", "queue"), (None, "preprocessing")])
def test_an_older_record_says_by_its_backend_where_latencies_start(
    backend: str | None, start: str
) -> None:
    data = stored(record(provenance={"backend": backend, "batch_size": 2}))
    del data.values["speed"]["latency_from"]
    assert RunRecord.from_dict(data).speed.latency_from == start


def test_keys_of_a_later_version_are_ignored() -> None:
    data = stored(record())
    data.values["speed"]["later"] = data.values["later"] = 1
    assert RunRecord.from_dict(data) == record()


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("experts", "observed", "four"),
        ("experts", "n_layers", None),
        ("experts", "routing", {"layers": {"0": {"num_experts": "8"}}}),
        ("speed", "wall_s", "1 s"),
        ("speed", "latency_from", "elsewhere"),
        ("speed", "ttft_s", 1.0),
        ("hardware", "joules", "many"),
        ("steady_decode", "points", [{"batch_size": "1"}]),
        ("provenance", "batch_size", "auto"),
        ("provenance", "versions", {"torch": 2}),
    ],
)
def test_a_wrong_type_names_the_file_and_the_key(part: str, key: str, value: object) -> None:
    data = stored(full_record())
    data.values[part][key] = value
    with pytest.raises(DataError, match=rf"^a_results\.json: moe_eval\.a\.{part}\.{key}"):
        RunRecord.from_dict(data)


def test_rates_of_shared_images_are_named_as_those_of_the_task() -> None:
    plain = record(score=Score("exact_match", 0.25))
    shared = replace(plain, speed=replace(plain.speed, is_shared=True))
    names = ("samples_per_s", "output_tokens_per_s", "seconds_per_correct_answer")
    rows, of_requests = shared.rows(), plain.rows()
    for name in names:
        assert rows[f"task_{name}"] == of_requests[name]
        assert name not in rows
    assert rows["prefill_tokens_per_s"] is None
    stored = json.loads(json.dumps(shared.to_dict()))
    assert stored["speed"]["samples_per_s"] == of_requests["samples_per_s"]
    assert RunRecord.from_dict(JsonObject(stored)).speed.is_shared
    del stored["speed"]["is_shared"]
    assert not RunRecord.from_dict(JsonObject(stored)).speed.is_shared
