"""Phases are exact with a clock by hand, and a clock that is not waited for is caught."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moe_eval_plugin.measure.phases import ClockMarks, CudaMarks, PhaseRecorder, marks_for
from moe_eval_plugin.measure.timing import BatchTiming, LapTimer, PhaseTimes
from moe_eval_plugin.testing import ManualClock

ENCODING_S, PREFILL_S, STEP_S, CHOOSING_S = 2.0, 3.0, 0.5, 0.125


class Works(nn.Module):
    """A module whose forward pass takes the seconds that it is given."""

    def __init__(self, clock: ManualClock, vision: nn.Module | None = None) -> None:
        super().__init__()
        self.clock = clock
        self.vision = vision

    def forward(self, seconds: float, n_images: int = 0) -> None:
        for _ in range(n_images):
            assert self.vision is not None
            self.vision(ENCODING_S)
        self.clock.advance(seconds)


def answer(model: Works, recorder: PhaseRecorder, n_tokens: int, n_images: int = 0) -> None:
    """Do what ``generate`` does: a prefill, and a step for each token behind the first."""
    model(PREFILL_S, n_images)
    for step in range(n_tokens):
        if step:
            model(STEP_S)
        model.clock.advance(CHOOSING_S)
        recorder.token()


def a_model() -> tuple[ManualClock, Works, PhaseRecorder]:
    clock = ManualClock()
    model = Works(clock, vision=Works(clock))
    recorder = PhaseRecorder(model, model.vision, ClockMarks(lambda: None, clock))
    return clock, model, recorder


def test_each_phase_is_the_time_inside_its_forward_passes() -> None:
    _, model, recorder = a_model()
    with recorder:
        answer(model, recorder, n_tokens=4, n_images=2)
        times = recorder.finish()
    assert times == PhaseTimes(
        vision_s=2 * ENCODING_S,
        prefill_s=PREFILL_S,
        decode_s=3 * STEP_S,
        first_token_s=2 * ENCODING_S + PREFILL_S + CHOOSING_S,
        n_decode_steps=3,
    )
    assert times.busy_s == 2 * ENCODING_S + PREFILL_S + 3 * STEP_S


def test_phases_and_the_gap_between_them_are_the_wall_time() -> None:
    clock, model, recorder = a_model()
    timer = LapTimer(lambda: None, clock)
    with recorder:
        clock.advance(10.0)
        recorder.start()
        answer(model, recorder, n_tokens=2)
        times = recorder.finish()
    batch = BatchTiming("a", 1, 5, (2,), timer.lap(), phases=times)
    assert batch.host_gap_s == 10.0 + 2 * CHOOSING_S
    assert times.busy_s + batch.host_gap_s == batch.wall_s


def test_a_batch_is_not_mixed_with_the_one_before() -> None:
    _, model, recorder = a_model()
    with recorder:
        answer(model, recorder, n_tokens=9, n_images=1)
        recorder.start()
        answer(model, recorder, n_tokens=1)
        times = recorder.finish()
    assert (times.vision_s, times.prefill_s, times.n_decode_steps) == (0.0, PREFILL_S, 0)


def test_without_an_image_tower_its_time_is_unknown_rather_than_zero() -> None:
    clock = ManualClock()
    model = Works(clock)
    with PhaseRecorder(model, None, ClockMarks(lambda: None, clock)) as recorder:
        model(PREFILL_S)
        times = recorder.finish()
    assert (times.vision_s, times.prefill_s, times.first_token_s) == (None, PREFILL_S, None)


def test_hooks_are_gone_afterwards() -> None:
    _, model, recorder = a_model()
    with recorder:
        pass
    model(PREFILL_S)
    assert recorder.finish().prefill_s == 0.0
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_marks_are_events_on_one_gpu_and_the_clock_elsewhere() -> None:
    assert isinstance(marks_for({"cuda:0"}), CudaMarks)
    assert isinstance(marks_for({"cuda:0", "cuda:1"}), ClockMarks)
    assert isinstance(marks_for({"cpu"}), ClockMarks)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_events_agree_with_the_clock_of_the_host() -> None:
    marks = CudaMarks()
    matrix = torch.randn(4096, 4096, device="cuda")
    timer = LapTimer(torch.cuda.synchronize)
    begin = marks.mark()
    for _ in range(50):
        matrix = (matrix @ matrix).tanh()
    end = marks.mark()
    wall_s = timer.lap()
    assert marks.seconds(begin, end) == pytest.approx(wall_s, rel=0.05)
