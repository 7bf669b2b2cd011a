"""When a timed pass ends, what it counts, and how it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.results.timing.timed_pass import pass_path, read_timed_passes
from moe_eval_plugin.stats.interleaved import MIN_BLOCKS
from moe_eval_plugin.sweeps.timing.interleaved import run_pass, widest_interval
from tests.sweeps.timing.timers import SETTINGS, ClockTimer, wanted

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = {"k8": 4.0, "k4": 2.0, "k1": 1.0}


def steady(setting: str, _: int) -> float:
    return SECONDS[setting]


def noisy(setting: str, number: int) -> float:
    return SECONDS[setting] * (
        1 + (0.5 if (number + len(setting)) % 2 else 0.0) * (setting == "k4")
    )


def test_every_block_has_every_setting_on_the_same_batches_in_changing_order(
    tmp_path: Path,
) -> None:
    timer = ClockTimer(steady)
    found = run_pass(tmp_path, wanted(), timer, clock=timer.clock)
    orders = [block.order for block in found.counted]
    assert all(sorted(order) == sorted(SETTINGS) for order in orders)
    assert len({order[0] for order in orders}) == len(SETTINGS)
    numbers = [number for _, number in timer.timed]
    # The warm-up has the batches of the block after it.
    assert numbers == sorted([0, 0, 0, *(n for n in range(len(orders)) for _ in SETTINGS)])


def test_the_warm_up_is_kept_and_not_counted(tmp_path: Path) -> None:
    timer = ClockTimer(lambda setting, number: SECONDS[setting] * (100 if number == 0 else 1))
    found = run_pass(tmp_path, wanted(), timer, clock=timer.clock)
    assert [block.is_warm_up for block in found.blocks] == [True, *[False] * len(found.counted)]
    assert found.blocks[0].seconds("k1") == 100
    speed_up = found.speed_up("k1")
    assert speed_up is not None
    assert speed_up.ratio == 4


def test_it_ends_when_every_interval_is_narrow(tmp_path: Path) -> None:
    timer = ClockTimer(steady)
    found = run_pass(tmp_path, wanted(), timer, clock=timer.clock)
    assert found.ended_by == "precision"
    assert len(found.counted) >= MIN_BLOCKS
    assert widest_interval(found) == 0


def test_it_ends_when_the_budget_is_spent(tmp_path: Path) -> None:
    timer = ClockTimer(noisy)
    found = run_pass(tmp_path, wanted(budget_s=200.0), timer, clock=timer.clock)
    assert found.ended_by == "budget"
    assert 200 <= timer.now < 210
    assert (widest_interval(found) or 0) > 0.03


def test_a_budget_that_is_too_small_leaves_one_counted_block(tmp_path: Path) -> None:
    timer = ClockTimer(steady)
    found = run_pass(tmp_path, wanted(budget_s=0.1), timer, clock=timer.clock)
    assert len(found.counted) == 1
    assert found.ended_by == "budget"
    assert widest_interval(found) is None


def test_a_pass_that_has_ended_is_not_timed_again(tmp_path: Path) -> None:
    timer = ClockTimer(steady)
    found = run_pass(tmp_path, wanted(), timer, clock=timer.clock)
    n_timed = len(timer.timed)
    assert run_pass(tmp_path, wanted(), timer, clock=timer.clock) == found
    assert len(timer.timed) == n_timed


def test_after_a_kill_it_warms_up_again_and_spends_what_is_left(tmp_path: Path) -> None:
    timer = ClockTimer(noisy)
    whole = run_pass(tmp_path, wanted(budget_s=200.0), timer, clock=timer.clock)
    path = pass_path(tmp_path, wanted())
    lines = path.read_bytes().splitlines(keepends=True)
    n_kept = len(lines) // 2
    path.write_bytes(b"".join(lines[:n_kept]) + lines[n_kept][:-30])
    spent = sum(block.seconds(one) for block in whole.blocks[: n_kept - 1] for one in SETTINGS)
    again = ClockTimer(noisy)
    found = run_pass(tmp_path, wanted(budget_s=200.0), again, clock=again.clock)
    assert found.blocks[: n_kept - 1] == whole.blocks[: n_kept - 1]
    assert [n for n, block in enumerate(found.blocks) if block.is_warm_up] == [0, n_kept - 1]
    assert 200 <= spent + again.now < 210
    assert read_timed_passes(tmp_path) == [found]


def test_a_batch_size_that_does_not_fit_is_halved_for_all_settings(tmp_path: Path) -> None:
    timer = ClockTimer(steady, largest=4)
    asked = wanted(batch_size=16)
    found = run_pass(tmp_path, asked, timer, clock=timer.clock)
    assert found.batch_size == 4
    assert {one.n_samples for block in found.blocks for (one,) in block.batches.values()} == {4}
    assert read_timed_passes(tmp_path) == [found]


def test_an_error_of_the_model_is_not_taken_for_the_end(tmp_path: Path) -> None:
    def broken(*_: object) -> float:
        message = "the GPU is gone"
        raise RuntimeError(message)

    timer = ClockTimer(broken)
    with pytest.raises(RuntimeError, match="the GPU is gone"):
        run_pass(tmp_path, wanted(), timer, clock=timer.clock)
    (found,) = read_timed_passes(tmp_path)
    assert (found.blocks, found.ended_by) == ((), None)
