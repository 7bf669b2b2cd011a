"""Time a run batch by batch: wall time, encoding, the call of the model and its phases."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from moe_eval_plugin.measure.timing import BatchTiming, LapTimer, PhaseTimes, read_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moe_eval_plugin.measure.phases import PhaseRecorder
    from moe_eval_plugin.measure.timing import Clock


class Stopwatch:
    """Returns one ``BatchTiming`` after another; no time between them is lost.

    ``wait`` returns once the device has finished what was queued. Without a ``recorder`` the
    phases are not known. A batch may call the model several times, round by round.
    """

    def __init__(
        self, wait: Callable[[], None], recorder: PhaseRecorder | None, clock: Clock = read_clock
    ) -> None:
        self._wait = wait
        self._recorder = recorder
        self._clock = clock
        self._timer = LapTimer(wait, clock)
        self._forget()

    @property
    def on_token(self) -> Callable[[], None] | None:
        """The function to call when a token was chosen; ``None`` where phases are not recorded."""
        return None if self._recorder is None else self._recorder.token

    def restart(self) -> None:
        """Start measuring now; earlier time is not counted."""
        self._timer.restart()
        self._forget()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out of this batch."""
        with self._timer.paused():
            yield

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """Time the reading and encoding of inputs, here or in another thread."""
        begin = self._clock()
        yield
        self.add_encoding(self._clock() - begin)

    def add_encoding(self, seconds: float) -> None:
        """Add the time that this batch's inputs took, overlapped or not."""
        self._encode_s += seconds

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Time a call of the model. A call that fails is no part of its phases."""
        begin = self._clock()
        if self._recorder is not None:
            self._recorder.start()
        yield
        self._wait()
        self._generate_s += self._clock() - begin
        if self._recorder is not None:
            self._phases.append(self._recorder.finish())

    def lap(
        self, task: str, n_samples: int, n_input_tokens: int, output_tokens: Sequence[int]
    ) -> BatchTiming:
        """End a batch and begin the next one; raises what ``BatchTiming`` raises."""
        batch = BatchTiming(
            task=task,
            n_samples=n_samples,
            n_input_tokens=n_input_tokens,
            output_tokens=tuple(output_tokens),
            wall_s=self._timer.lap(),
            encode_s=self._encode_s,
            generate_s=self._generate_s,
            phases=_add_up(self._phases),
        )
        self._forget()
        return batch

    def _forget(self) -> None:
        self._encode_s = 0.0
        self._generate_s = 0.0
        self._phases: list[PhaseTimes] = []


def _add_up(rounds: Sequence[PhaseTimes]) -> PhaseTimes | None:
    """Add up the phases of several calls; the first token is that of the first call."""
    if not rounds:
        return None
    first = rounds[0]
    vision = [one.vision_s for one in rounds if one.vision_s is not None]
    return PhaseTimes(
        vision_s=sum(vision) if vision else None,
        prefill_s=sum(one.prefill_s for one in rounds),
        decode_s=sum(one.decode_s for one in rounds),
        first_token_s=first.first_token_s,
        n_decode_steps=sum(one.n_decode_steps for one in rounds),
    )
