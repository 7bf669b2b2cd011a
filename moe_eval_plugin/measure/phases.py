"""Measure the phases of a batch: vision encoding, prefill, decode.

The forward passes of a model are marked at their begin and end. On one CUDA device a mark is an
event in its stream, which costs microseconds and waits for nothing; elsewhere it is the monotonic
clock, read after the device has finished. The time between forward passes (reading images,
tokenising, choosing tokens, Python) is in no phase: ``BatchTiming.host_gap_s`` is the rest of the
wall time, in which the device had nothing of ours to do.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from moe_eval_plugin.measure.synchronize import synchronize
from moe_eval_plugin.measure.timing import PhaseTimes, read_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

    from moe_eval_plugin.measure.timing import Clock


class Marks(Protocol):
    """A clock that a device can keep: marks are set now and read later."""

    def mark(self) -> Any:  # noqa: ANN401  (a time, or an event of a device)
        """Mark the present position in the work of the device."""

    def seconds(self, begin: Any, end: Any) -> float:  # noqa: ANN401
        """Return the seconds between two marks; the device must have passed them."""


class ClockMarks:
    """Marks by a clock that is read once the device has finished what was queued."""

    def __init__(self, wait: Callable[[], None], clock: Clock = read_clock) -> None:
        self._wait = wait
        self._clock = clock

    def mark(self) -> float:
        """Wait for the device, and read the clock."""
        self._wait()
        return self._clock()

    def seconds(self, begin: float, end: float) -> float:
        """Return the seconds between two marks."""
        return end - begin


class CudaMarks:
    """Marks that are events in the current stream of one CUDA device."""

    def mark(self) -> Any:  # noqa: ANN401  (torch.cuda.Event)
        """Queue an event; nothing waits for it."""
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, begin: Any, end: Any) -> float:  # noqa: ANN401
        """Return the seconds between two events that the device has passed."""
        return float(begin.elapsed_time(end)) / 1000


def marks_for(devices: set[str]) -> Marks:
    """Choose the marks for a model whose parameters lie on these devices.

    Events of two devices cannot be compared, so a model spread over several is timed by the clock.
    """
    if len(devices) == 1 and next(iter(devices)).startswith("cuda"):
        return CudaMarks()

    def wait() -> None:
        for device in devices:
            synchronize(device)

    return ClockMarks(wait)


@dataclass
class _Span:
    """One forward pass, with the image encoding inside it."""

    begin: Any
    is_prefill: bool
    end: Any = None


class PhaseRecorder:
    """Marks the forward passes of a model, from ``start`` of a batch to its ``finish``.

    Forward passes before the first ``token`` are prefill, those behind it decode; the passes of
    ``vision``, the image tower, are taken out of prefill. Used as a context manager, which attaches
    hooks to the two modules and takes them away again.
    """

    def __init__(self, model: nn.Module, vision: nn.Module | None, marks: Marks) -> None:
        self._model = model
        self._vision = vision
        self._marks = marks
        self._hooks = ExitStack()
        self.start()

    def __enter__(self) -> Self:
        self._attach(self._model, "pass")
        if self._vision is not None:
            self._attach(self._vision, "encoding")
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def start(self) -> None:
        """Start a batch; earlier recordings are dropped."""
        self._spans: dict[str, list[_Span]] = {"pass": [], "encoding": []}
        self._first_token: Any = None
        self._begin = self._marks.mark()

    def token(self) -> None:
        """Note that a token of each answer was chosen; only the first call of a batch counts."""
        if self._first_token is None:
            self._first_token = self._marks.mark()

    def finish(self) -> PhaseTimes:
        """Read the marks of this batch. The device must have been waited for."""
        encoding = self._total(self._spans["encoding"])
        prefill = [span for span in self._spans["pass"] if span.is_prefill]
        decode = [span for span in self._spans["pass"] if not span.is_prefill]
        to_first = None
        if self._first_token is not None:
            to_first = self._marks.seconds(self._begin, self._first_token)
        return PhaseTimes(
            vision_s=encoding if self._vision is not None else None,
            prefill_s=self._total(prefill) - encoding,
            decode_s=self._total(decode),
            first_token_s=to_first,
            n_decode_steps=len(decode),
        )

    def _attach(self, module: nn.Module, kind: Literal["pass", "encoding"]) -> None:
        def begin(*_: object) -> None:
            span = _Span(self._marks.mark(), is_prefill=self._first_token is None)
            self._spans[kind].append(span)

        def end(*_: object) -> None:
            self._spans[kind][-1].end = self._marks.mark()

        self._hooks.callback(module.register_forward_pre_hook(begin).remove)
        self._hooks.callback(module.register_forward_hook(end).remove)

    def _total(self, spans: Iterable[_Span]) -> float:
        return sum(self._marks.seconds(span.begin, span.end) for span in spans)
