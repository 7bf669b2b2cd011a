from __future__ import annotations

from typing import Any

from moe_eval_plugin.measure.hardware_use import NVML, RAPL, HardwareUse, PeakMemory
from moe_eval_plugin.results.measurements import Measurements, joined, make_records
from moe_eval_plugin.results.steady_decode import SteadyDecode
from moe_eval_plugin.text import GIB
from tests.results.sample_records import EXPERTS, batch


def rank_of(source: str | None, *, joules: float | None, gib: int, **batches: Any) -> Measurements:
    """Make what a process measured that answered these tasks."""
    use = HardwareUse(PeakMemory(gib * GIB, None, gib * GIB), joules)
    timings = tuple(one for of_task in batches.values() for one in of_task)
    instrument = {"source": source, "reasons": [] if source else ["there is no counter"]}
    return Measurements(timings, dict.fromkeys(batches, use), instrument)


def test_gpus_of_several_processes_are_summed_and_the_largest_memory_stands() -> None:
    ranks = [
        rank_of(NVML, joules=2.0, gib=4, a=[batch("a", 2, 4.0)]),
        rank_of(NVML, joules=5.0, gib=3, a=[batch("a", 1, 5.0), batch("a", 1, 2.0)]),
    ]
    made = make_records(ranks, EXPERTS, {"n_ranks": 2})["a"]
    assert made.hardware == HardwareUse(PeakMemory(4 * GIB, None, 4 * GIB), 7.0)
    assert made.joules_per_sample == 7 / 4
    assert (made.speed.n_samples, made.speed.wall_s) == (4, 7.0)
    assert made.speed.samples_per_s == 4 / 7
    assert made.provenance == {
        "n_ranks": 2,
        "energy": {"source": NVML, "reasons": []},
        "n_unanswered": 0,
        "unanswered": [],
    }


def test_one_processor_that_all_processes_count_cannot_be_added_up() -> None:
    ranks = [rank_of(RAPL, joules=2.0, gib=1, a=[batch("a")]) for _ in range(2)]
    made = make_records(ranks, EXPERTS, {})["a"]
    assert made.hardware.joules is None
    assert made.rows()["joules_per_sample"] is None
    (reason,) = made.provenance["energy"]["reasons"]
    assert reason.startswith("each of 2 processes counted the energy of the whole processor")
    assert ranks[0].energy is not None
    assert ranks[0].energy["reasons"] == []


def test_one_process_may_count_the_whole_processor() -> None:
    ranks = [rank_of(RAPL, joules=2.0, gib=1, a=[batch("a")])]
    made = make_records(ranks, EXPERTS, {})["a"]
    assert made.hardware.joules == 2.0
    assert made.provenance["energy"]["reasons"] == []


def test_a_process_that_does_not_know_its_energy_makes_the_sum_unknown() -> None:
    ranks = [
        rank_of(NVML, joules=2.0, gib=1, a=[batch("a")]),
        rank_of(NVML, joules=None, gib=1, a=[batch("a")]),
    ]
    assert make_records(ranks, EXPERTS, {})["a"].hardware.joules is None


def test_processes_with_different_tasks_are_joined_task_by_task() -> None:
    ranks = [
        rank_of(NVML, joules=2.0, gib=1, a=[batch("a", 2, 4.0)]),
        rank_of(NVML, joules=5.0, gib=2, a=[batch("a", 2, 3.0)], b=[batch("b", 1, 2.0)]),
        Measurements(energy={"source": NVML, "reasons": []}),
    ]
    made = make_records(ranks, EXPERTS, {})
    assert list(made) == ["a", "b"]
    assert (made["a"].speed.n_samples, made["b"].speed.n_samples) == (4, 1)
    assert (made["a"].hardware.joules, made["b"].hardware.joules) == (7.0, 5.0)


def test_steady_decode_stands_beside_every_task() -> None:
    ranks = [rank_of(NVML, joules=2.0, gib=1, a=[batch("a")], b=[batch("b")])]
    made = make_records(ranks, EXPERTS, {"batch_size": 1}, SteadyDecode())
    assert [one.steady_decode for one in made.values()] == [SteadyDecode()] * 2


def test_a_task_that_was_not_verified_has_no_record() -> None:
    ranks = [rank_of(NVML, joules=2.0, gib=1, a=[batch("a")], c=[batch("c")])]
    assert list(make_records(ranks, EXPERTS, {})) == ["a"]


def test_parts_of_a_run_are_joined_task_by_task() -> None:
    first = rank_of(NVML, joules=2.0, gib=4, a=[batch("a", 2, 4.0)], b=[batch("b")])
    later = rank_of(NVML, joules=5.0, gib=3, a=[batch("a", 1, 5.0)])
    both = joined([first.of_task("a"), later.of_task("a")])
    assert [one.wall_s for one in both.batches] == [4.0, 5.0]
    assert both.hardware == {"a": HardwareUse(PeakMemory(4 * GIB, None, 4 * GIB), 7.0)}
    assert joined([first]) == first
    unknown = rank_of(NVML, joules=None, gib=1, a=[])
    assert joined([first, unknown]).hardware["a"].joules is None
    assert joined([first, unknown]).hardware["b"].joules == 2.0
