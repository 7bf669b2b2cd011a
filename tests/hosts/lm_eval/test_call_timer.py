"""Batches of the host's own methods add up to the time of a task, with a clock by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lm_eval.api.instance import Instance

from moe_eval_plugin.hosts.lm_eval.asked import AskedRequests
from moe_eval_plugin.hosts.lm_eval.call_timer import CallTimer
from moe_eval_plugin.hosts.lm_eval.model import TaskCall
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.testing import ManualClock

if TYPE_CHECKING:
    from moe_eval_plugin.measure.timing import BatchTiming


class TimedTask:
    """A task of three questions whose host takes the seconds that a test names."""

    def __init__(self, *, others_work: bool = False) -> None:
        self.clock = ManualClock()
        self.batches: list[tuple[BatchTiming, int]] = []
        requests = [
            Instance("generate_until", {}, (f"{n}", {}), 0, ("task", n, 1)) for n in range(3)
        ]

        def report(batch: BatchTiming, n_requests: int) -> bool:
            self.batches.append((batch, n_requests))
            self.clock.advance(100.0 if others_work else 0.0)
            return others_work

        self.call = TaskCall("task", AskedRequests(requests), report)
        self.timer = CallTimer(self.call, Stopwatch(lambda: None, None, self.clock))

    def answer(self, *questions: int, encode_s: float = 1.0, call_s: float = 2.0) -> None:
        """Do what the host does with a batch: encode, generate, and read the answers."""
        with self.timer.encoding():
            self.clock.advance(encode_s)
        with self.timer.calling():
            self.clock.advance(call_s)
        self.timer.generated(10 * len(questions), [4] * len(questions))
        self.clock.advance(0.5)
        for question in questions:
            self.call.asked.answered((f"{question}", {}))


def test_batches_add_up_and_have_what_was_answered_in_them() -> None:
    task = TimedTask()
    task.answer(0, 1)
    task.answer(2, encode_s=3.0)
    task.clock.advance(0.25)
    task.timer.finish()
    (first, n_first), (second, n_second) = task.batches
    assert (n_first, n_second) == (first.n_samples, second.n_samples) == (2, 1)
    assert (first.wall_s, first.encode_s, first.generate_s) == (3.5, 1.0, 2.0)
    assert (second.wall_s, second.encode_s, second.generate_s) == (5.75, 3.0, 2.0)
    assert first.wall_s + second.wall_s == task.clock.now_s
    assert (first.n_input_tokens, first.output_tokens) == (20, (4, 4))


def test_the_search_for_a_batch_size_is_in_no_time() -> None:
    task = TimedTask()
    task.clock.advance(0.5)
    with task.timer.not_counted():
        task.clock.advance(60.0)
    task.answer(0, 1, 2)
    task.timer.finish()
    assert task.batches[0][0].wall_s == 4.0


def test_the_time_of_plugins_is_in_no_batch() -> None:
    task = TimedTask(others_work=True)
    task.answer(0, 1)
    task.answer(2)
    task.timer.finish()
    assert [batch.wall_s for batch, _ in task.batches] == [3.5, 3.5]


def test_scores_have_no_latency_and_count_the_prompts_that_were_read() -> None:
    task = TimedTask()
    task.call.asked.reads(("0", {}), [1, 2, 3])
    with task.timer.calling():
        task.clock.advance(2.0)
    task.call.asked.answered(("0", {}))
    task.timer.finish()
    ((batch, n_requests),) = task.batches
    assert (batch.encode_s, batch.generate_s, batch.output_tokens) == (None, 2.0, ())
    assert batch.n_input_tokens == 3
    # What the host did not report one by one is answered when its method returns.
    assert (n_requests, batch.n_samples) == (3, 3)


def test_a_task_without_a_call_has_no_batch() -> None:
    task = TimedTask()
    task.timer.finish()
    assert task.batches == []
