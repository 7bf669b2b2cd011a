from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.measure.machine_load import MachineLoad
from moe_eval_plugin.results.timing.speed_checks import implausible_speeds, load_warnings
from tests.results.timing.timed_files import around, timed_pass

if TYPE_CHECKING:
    from moe_eval_plugin.results.timing.timed_pass import TimedPass

K = {"k8": 8.0, "k7": 7.0, "k4": 4.0}
QUIET = MachineLoad(2, 1.1, 0.05, 0.0)


def test_a_quiet_machine_is_no_reason_for_a_warning() -> None:
    gpu = replace(QUIET, gpu_clock_share=0.97, n_other_gpu_processes=0)

    assert load_warnings([]) == []
    assert load_warnings([None, MachineLoad(2)]) == []
    assert load_warnings([QUIET, None, QUIET]) == []
    assert load_warnings([gpu, replace(gpu, gpu_clock_share=0.93)]) == []


def test_other_programs_are_named_with_the_cores_that_they_kept_busy() -> None:
    loads = [replace(QUIET, other_cpu_cores=one) for one in (0.8, 1.2)]

    (sentence,) = load_warnings(loads)

    assert sentence == (
        "The machine was busy while speeds were measured: other programs kept 1.0 of 2 cores busy "
        "on average. Speed intervals are wider for it; repeat on a quiet machine for narrower ones."
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"other_cpu_cores": None, "load_average": 5.1}, "measured: load 5.1 on 2 cores."),
        ({"steal_share": 0.07}, "cores to other machines while speeds were measured: 7% of"),
        ({"n_other_gpu_processes": 1}, "1 other program used the GPU while"),
        ({"n_other_gpu_processes": 3}, "3 other programs used the GPU while"),
        ({"gpu_clock_share": 0.5}, "ran at 50% of its largest clock while"),
    ],
)
def test_each_reason_has_a_sentence(changes: dict[str, Any], expected: str) -> None:
    (sentence,) = load_warnings([replace(QUIET, **changes)])

    assert expected in sentence


def test_a_load_is_no_reason_where_the_use_of_others_is_known_to_be_small() -> None:
    # Two threads of this run and what waits for them are a load of 5 as well.
    assert load_warnings([replace(QUIET, load_average=5.1)]) == []


def test_clocks_that_change_are_named() -> None:
    loads = [replace(QUIET, gpu_clock_share=one) for one in (0.98, 0.71, 0.9)]

    (sentence,) = load_warnings(loads)

    assert "changed its clock while speeds were measured: 71% to 98% of its largest" in sentence


def test_less_work_that_came_out_slower_is_named_with_the_setting_it_contradicts_most() -> None:
    timed = timed_pass({"k8": around(1.0), "k7": around(1.39), "k4": around(0.95)})

    (found,) = implausible_speeds(timed, K)

    assert found.sentence(lambda name: f"k={name[1:]}") == (
        "k=7 came out slower than k=8 although it does less work: speeds here scatter by at least "
        "39%."
    )


def test_less_work_that_is_as_fast_is_no_contradiction() -> None:
    slower_by_1_percent = timed_pass({"k8": around(1.0, 40, 0.001), "k7": around(1.01, 40, 0.001)})

    assert implausible_speeds(slower_by_1_percent, K) == []
    assert implausible_speeds(timed_pass({"k8": around(1.0), "k7": around(0.9)}), K) == []


def test_a_difference_within_the_interval_is_no_contradiction() -> None:
    seconds = [1.4, 0.8, 1.3, 0.7, 1.2, 0.8, 1.3, 0.9]

    assert implausible_speeds(timed_pass({"k8": [1.0] * 8, "k7": seconds}), K) == []
    assert implausible_speeds(timed_pass({"k8": [1.0], "k7": [1.4]}), K) == []
    assert implausible_speeds(timed_pass({"k8": [], "k7": []}), K) == []


def test_longer_answers_and_an_unknown_k_are_reasons_to_be_slower() -> None:
    timed = timed_pass({"k8": around(1.0), "k7": around(1.4)})

    assert implausible_speeds(with_one_token_more(timed, "k7"), K) == []
    assert implausible_speeds(timed, {"k8": 8.0}) == []
    assert implausible_speeds(with_one_token_more(timed, "k8"), K) != []


def test_one_long_answer_makes_its_batch_slow() -> None:
    timed = timed_pass({"k8": around(1.0), "k7": around(1.4)})

    # No more tokens in all, but more steps.
    assert implausible_speeds(with_tokens(timed, "k7", (1, 1, 1, 5)), K) == []
    assert implausible_speeds(with_tokens(timed, "k7", (2, 2, 2, 1)), K) != []


def with_one_token_more(timed: TimedPass, setting: str) -> TimedPass:
    return with_tokens(timed, setting, (3, 3, 3, 3))


def with_tokens(timed: TimedPass, setting: str, tokens: tuple[int, ...]) -> TimedPass:
    blocks = []
    for block in timed.blocks:
        of_setting = tuple(replace(one, output_tokens=tokens) for one in block.batches[setting])
        blocks.append(replace(block, batches={**block.batches, setting: of_setting}))
    return replace(timed, blocks=tuple(blocks))
