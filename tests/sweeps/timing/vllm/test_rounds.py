"""Rounds over engines: whole rounds or nothing, and none of them is a warm-up."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import EngineFailedError
from moe_eval_plugin.measure.hardware_use import HardwareUse
from moe_eval_plugin.measure.machine_load import MachineLoad
from moe_eval_plugin.measure.timing import BatchTiming
from moe_eval_plugin.results.timing.timed_pass import TimedPass, read_timed_passes
from moe_eval_plugin.stats.interleaved import block_order
from moe_eval_plugin.sweeps.timing.text import end_text, progress_text
from moe_eval_plugin.sweeps.timing.vllm.rounds import default_rounds, run_rounds
from moe_eval_plugin.sweeps.timing.work import TimedWork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = {"k8": 2.0, "k4": 1.0}
ONE = TimedPass("easy_vqa", 4, ("k8", "k4"), "k8", (0, 3), 0, 0.03, 60.0, method="rounds")
PASSES = (ONE, replace(ONE, task="okvqa"))


class Engines:
    """Engines that take a known time; start number ``dies_at`` fails."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.started: list[str] = []
        self._dies_at = dies_at

    @contextmanager
    def start(self, setting: str) -> Iterator[Engine]:
        if len(self.started) == self._dies_at:
            message = "it died"
            raise EngineFailedError(message)
        self.started.append(setting)
        yield Engine(setting, float(len(self.started)))


class Engine:
    def __init__(self, setting: str, busy_cores: float) -> None:
        self._setting, self._busy_cores = setting, busy_cores

    def time_sample(self, wanted: TimedPass) -> tuple[tuple[BatchTiming, ...], HardwareUse]:
        wall_s = SECONDS[self._setting]
        stamps = {"ttft_from_queue_s": (0.1,), "e2e_latency_from_queue_s": (0.2,)}
        one = BatchTiming(wanted.task, 1, 43, (2,), wall_s, **stamps)  # type: ignore[arg-type]
        return (one,) * len(wanted.sample), HardwareUse()

    def load(self) -> MachineLoad:
        return MachineLoad(2, other_cpu_cores=self._busy_cores)


def test_each_round_starts_an_engine_for_each_setting_and_is_a_block_of_each_task(
    tmp_path: Path,
) -> None:
    engines = Engines()
    run_rounds(tmp_path, PASSES, engines.start, 3)
    orders = [block_order(ONE.settings, number) for number in range(3)]
    assert engines.started == [setting for order in orders for setting in order]
    found = read_timed_passes(tmp_path)
    assert [one.task for one in found] == ["easy_vqa", "okvqa"]
    for one in found:
        assert (one.ended_by, len(one.counted), len(one.blocks)) == ("rounds", 3, 3)
        assert [block.order for block in one.blocks] == orders
        # The load of a block is that of its busiest engine.
        assert [block.load.other_cpu_cores for block in one.blocks if block.load] == [2, 4, 6]
        ratio = one.speed_up("k4")
        assert ratio is not None
        assert (ratio.ratio, ratio.n_pairs) == (2.0, 3)
        speed = one.speed("k8")
        assert speed is not None
        assert (speed.latency_from, speed.ttft_s and speed.ttft_s.n) == ("queue", 6)


def test_one_round_is_timed_once(tmp_path: Path) -> None:
    run_rounds(tmp_path, PASSES[:1], Engines().start, 1)
    (found,) = read_timed_passes(tmp_path)
    ratio = found.speed_up("k4")
    assert ratio is not None
    assert (ratio.ratio, ratio.interval, len(found.counted)) == (2.0, None, 1)
    assert "timed once" in ratio.text
    assert end_text(found).startswith("Timed once, with an engine for each setting.")
    assert progress_text(found) == "timing easy_vqa, batch 4, round 1"


def test_an_engine_that_dies_leaves_whole_rounds_and_the_next_process_goes_on(
    tmp_path: Path,
) -> None:
    with pytest.raises(EngineFailedError):
        run_rounds(tmp_path, PASSES, Engines(dies_at=3).start, 3)
    for one in read_timed_passes(tmp_path):
        assert (one.ended_by, len(one.counted)) == (None, 1)
    engines = Engines()
    run_rounds(tmp_path, PASSES, engines.start, 2)
    assert len(engines.started) == 2
    assert [len(one.counted) for one in read_timed_passes(tmp_path)] == [2, 2]


def test_more_rounds_continue_and_fewer_are_done(tmp_path: Path) -> None:
    run_rounds(tmp_path, PASSES, Engines().start, 2)
    for n_rounds, expected in ((2, ()), (1, ()), (3, PASSES)):
        work = TimedWork((), PASSES, n_rounds=n_rounds)
        assert work.pending(tmp_path) == expected
    run_rounds(tmp_path, PASSES, Engines().start, 3)
    assert TimedWork((), PASSES, n_rounds=3).pending(tmp_path) == ()


def test_engines_that_start_slowly_are_timed_once() -> None:
    assert [default_rounds(one) for one in ([5.0, 59.0], [5.0, 61.0], [], [None])] == [3, 1, 1, 1]
