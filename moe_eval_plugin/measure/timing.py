"""Records of the times of batches, and the clock that measures them.

Time is monotonic, in seconds, and read after the device has finished its work. Loading, the
verification pass and warm-up are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.json_object import JsonObject

Clock = Callable[[], float]
read_clock: Clock = time.perf_counter
# Events of a device and the clock of the host are two clocks.
TOLERANCE = 0.01


@dataclass(frozen=True)
class PhaseTimes:
    """Seconds that the device spent on one batch, by phase."""

    vision_s: float | None
    """Encoding of images; ``None`` without a known image tower: then part of ``prefill_s``."""
    prefill_s: float
    """Forward passes up to the first token."""
    decode_s: float
    """Forward passes after the first token."""
    first_token_s: float | None
    """From the call of the model to the first token; ``None`` where none was generated."""
    n_decode_steps: int
    """Number of forward passes after the first token."""

    @property
    def busy_s(self) -> float:
        """Seconds inside forward passes."""
        return (self.vision_s or 0.0) + self.prefill_s + self.decode_s

    @classmethod
    def from_dict(cls, values: JsonObject) -> PhaseTimes:
        """Build the times from their stored fields; ``DataError`` for a wrong type."""
        return cls(
            vision_s=values.number("vision_s"),
            prefill_s=values.need_number("prefill_s"),
            decode_s=values.need_number("decode_s"),
            first_token_s=values.number("first_token_s"),
            n_decode_steps=values.need_integer("n_decode_steps"),
        )


@dataclass(frozen=True)
class BatchTiming:
    """The size and the times of one batch of one task.

    Raises ``MeasurementError`` if the device was busy for longer than the batch lasted: then the
    clock was read before the device had finished, and no time of this run can be trusted. Example::

        questions_per_s = event.timing.n_samples / event.timing.wall_s
    """

    task: str
    """Name of the task."""
    n_samples: int
    """Questions answered. A question with several requests counts with its last one."""
    n_input_tokens: int
    """Tokens of all prompts, image tokens included."""
    output_tokens: tuple[int, ...]
    """Tokens of each answer, with the token that ended it."""
    wall_s: float
    """Seconds from the end of the previous batch, or the start of the run, to the end of this one.
    So the times of all batches add up to the time of the run."""
    encode_s: float | None = None
    """Seconds of reading images, preprocessing and tokenising, whether they overlap or not."""
    generate_s: float | None = None
    """Seconds of the call of the model."""
    phases: PhaseTimes | None = None
    """Seconds of this call by phase; ``None`` if phases were not recorded."""
    is_shared: bool = False
    """Whether images or beginnings of prompts were computed once for several questions or
    settings. The times then describe the task, and not single requests."""
    ttft_from_queue_s: tuple[float, ...] = ()
    """Seconds from each request's arrival in vLLM's queue to its first token, by vLLM's stamps.
    Empty if unknown, or if the times belong to no single request."""
    e2e_latency_from_queue_s: tuple[float, ...] = ()
    """Seconds from the same start to the last token."""

    def __post_init__(self) -> None:
        """Refuse phases that are longer than the wall time."""
        if self.phases is not None and self.phases.busy_s > self.wall_s * (1 + TOLERANCE):
            message = (
                f"A batch of {self.task} kept the device busy for {self.phases.busy_s:.6f} s "
                f"within {self.wall_s:.6f} s of wall time: the clock was read before it had "
                "finished, so this run has no times. Report it, with the device and the versions."
            )
            raise MeasurementError(message)

    @property
    def n_output_tokens(self) -> int:
        """Tokens of all answers together."""
        return sum(self.output_tokens)

    @property
    def host_gap_s(self) -> float | None:
        """Seconds in which the device waited for the CPU; ``None`` if phases are unknown."""
        return None if self.phases is None else max(0.0, self.wall_s - self.phases.busy_s)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> BatchTiming:
        """Build the record from its stored fields.

        Raises ``DataError`` for a wrong type, and what the constructor raises.
        """
        phases = values.item("phases")
        return cls(
            task=values.need_text("task"),
            n_samples=values.need_integer("n_samples"),
            n_input_tokens=values.need_integer("n_input_tokens"),
            output_tokens=values.integers("output_tokens"),
            wall_s=values.need_number("wall_s"),
            encode_s=values.number("encode_s"),
            generate_s=values.number("generate_s"),
            phases=PhaseTimes.from_dict(phases) if phases else None,
            is_shared=values.flag("is_shared"),
            ttft_from_queue_s=values.numbers("ttft_from_queue_s"),
            e2e_latency_from_queue_s=values.numbers("e2e_latency_from_queue_s"),
        )


class LapTimer:
    """Measures from one lap to the next, so that no time between batches is lost."""

    def __init__(self, synchronize: Callable[[], None], clock: Clock = read_clock) -> None:
        self._synchronize = synchronize
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Start measuring now; earlier time is not counted."""
        self._synchronize()
        self._last = self._clock()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out of this lap."""
        self._synchronize()
        begin = self._clock()
        try:
            yield
        finally:
            self._synchronize()
            self._last += self._clock() - begin

    def lap(self) -> float:
        """Wait for the device, and return the seconds since the last lap."""
        self._synchronize()
        now = self._clock()
        elapsed, self._last = now - self._last, now
        return elapsed
