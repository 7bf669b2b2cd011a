"""The times of a batch are exact with a clock by hand."""

from __future__ import annotations

import pytest
from torch import nn

from moe_eval_plugin.measure.phases import ClockMarks, PhaseRecorder
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.measure.timing import PhaseTimes
from moe_eval_plugin.testing import ManualClock


class Works(nn.Module):
    """A module whose forward pass takes the seconds that it is given."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock

    def forward(self, seconds: float) -> None:
        self.clock.advance(seconds)


class Bench:
    """A clock, a model, and a stopwatch with a recorder of phases."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.model = Works(self.clock)
        self.recorder = PhaseRecorder(self.model, None, ClockMarks(lambda: None, self.clock))
        self.stopwatch = Stopwatch(lambda: None, self.recorder, self.clock)

    def answer(self, prefill_s: float, n_steps: int) -> None:
        """Do what ``generate`` does; each token takes 0.25 s to choose, each step 0.5 s."""
        with self.stopwatch.calling():
            self.model(prefill_s)
            for step in range(n_steps + 1):
                if step:
                    self.model(0.5)
                self.clock.advance(0.25)
                assert self.stopwatch.on_token is not None
                self.stopwatch.on_token()

    def fail(self, after_s: float) -> None:
        """Run out of memory behind a forward pass."""
        with self.stopwatch.calling():
            self.model(after_s)
            raise MemoryError


def test_each_part_of_a_batch_has_its_time() -> None:
    bench = Bench()
    with bench.recorder:
        with bench.stopwatch.encoding():
            bench.clock.advance(2.0)
        bench.answer(prefill_s=3.0, n_steps=2)
        bench.clock.advance(1.0)
        batch = bench.stopwatch.lap("a", 1, 40, [3])
    assert (batch.wall_s, batch.encode_s, batch.generate_s) == (7.75, 2.0, 4.75)
    assert batch.phases == PhaseTimes(None, 3.0, 1.0, 3.25, 2)
    assert batch.host_gap_s == 3.75
    assert (batch.n_samples, batch.n_input_tokens, batch.output_tokens) == (1, 40, (3,))


def test_times_of_batches_add_up_and_do_not_mix() -> None:
    bench = Bench()
    with bench.recorder:
        bench.answer(prefill_s=3.0, n_steps=1)
        first = bench.stopwatch.lap("a", 1, 1, [2])
        bench.clock.advance(5.0)
        bench.answer(prefill_s=1.0, n_steps=0)
        second = bench.stopwatch.lap("b", 1, 1, [1])
    assert first.wall_s + second.wall_s == bench.clock.now_s
    assert (second.wall_s, second.encode_s, second.generate_s) == (6.25, 0.0, 1.25)
    assert second.phases == PhaseTimes(None, 1.0, 0.0, 1.25, 0)


def test_rounds_add_up_and_the_first_token_is_that_of_the_first_round() -> None:
    bench = Bench()
    with bench.recorder:
        bench.answer(prefill_s=3.0, n_steps=1)
        bench.answer(prefill_s=2.0, n_steps=2)
        batch = bench.stopwatch.lap("a", 1, 1, [5])
    assert batch.phases == PhaseTimes(None, 5.0, 1.5, 3.25, 3)
    assert batch.generate_s == batch.wall_s


def test_a_call_that_fails_is_in_the_wall_time_and_in_no_phase() -> None:
    bench = Bench()
    with bench.recorder:
        with pytest.raises(MemoryError):
            bench.fail(after_s=4.0)
        bench.answer(prefill_s=1.0, n_steps=0)
        batch = bench.stopwatch.lap("a", 1, 1, [1])
    assert (batch.wall_s, batch.generate_s) == (5.25, 1.25)
    assert batch.phases is not None
    assert batch.phases.busy_s == 1.0


def test_without_a_recorder_phases_are_unknown_rather_than_zero() -> None:
    clock = ManualClock()
    stopwatch = Stopwatch(lambda: None, None, clock)
    assert stopwatch.on_token is None
    with stopwatch.calling():
        clock.advance(2.0)
    batch = stopwatch.lap("a", 1, 1, [1])
    assert (batch.phases, batch.host_gap_s, batch.generate_s) == (None, None, 2.0)


def test_what_lies_before_a_restart_is_not_counted() -> None:
    bench = Bench()
    with bench.recorder:
        bench.answer(prefill_s=3.0, n_steps=1)
        bench.stopwatch.restart()
        bench.answer(prefill_s=1.0, n_steps=0)
        assert bench.stopwatch.lap("a", 1, 1, [1]).wall_s == 1.25


def test_the_device_is_waited_for_before_the_clock_is_read() -> None:
    clock = ManualClock()
    free_at_s = 5.0

    def wait() -> None:
        clock.now_s = max(clock.now_s, free_at_s)

    stopwatch = Stopwatch(lambda: None, None, clock)
    stopwatch._wait = wait
    with stopwatch.calling():
        clock.advance(0.5)
    assert stopwatch.lap("a", 1, 1, [1]).generate_s == 5.0
