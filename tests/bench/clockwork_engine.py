"""An engine that does nothing but keep a clock by hand, so that every rate is known."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.bench.measurement import Observed, Repetition
from moe_eval_plugin.errors import InsufficientMemoryError
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError, VerifiedOverride
from moe_eval_plugin.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.bench.plan import Workload

TTFT_S, STEP_S = 2.0, 0.25
BASELINE = 8


class ClockworkEngine:
    """Needs ``TTFT_S`` for prompts and k times ``STEP_S`` for a step, whatever the batch.

    ``room`` tells how many sequences fit at a k. A batch of B touches B * k distinct experts.
    ``true_k`` is the k that tokens use where it is another one than was asked for.
    """

    def __init__(self, room: dict[int | None, int] | None = None) -> None:
        self.clock = ManualClock()
        self.room = room or {}
        self.k: int | None = None
        self.did: list[tuple[str, int | None, int]] = []
        self.true_k: int | None = None
        self.changes_k_live = True

    @contextmanager
    def at_k(self, experts_k: int | None) -> Iterator[None]:
        self.k = experts_k
        yield
        self.k = None

    def observe(self, workload: Workload) -> Observed:
        self._take_room("observe", workload)
        if self.true_k is not None and self.k is not None and self.k != self.true_k:
            raise OverrideNotEffectiveError({"a": self.k}, {"a": {self.true_k: 3}}, ["a"])
        k = self.k or BASELINE
        return Observed(
            VerifiedOverride(self.k, BASELINE, k, 2, 3, 0),
            decode_distinct_experts=(float(k * workload.batch_size),) * 2,
            prefill_distinct_experts=(32.0,) * 2,
            load_entropy=0.5,
            expert_layer_s=STEP_S * k * workload.batch_size / 2,
        )

    def run(self, workload: Workload) -> Repetition:
        self._take_room("run", workload)
        begin = self.clock.now_s
        self.clock.advance(TTFT_S)
        first = self.clock.now_s
        self.clock.advance(STEP_S * (self.k or BASELINE) * (workload.new_tokens - 1))
        return Repetition(
            workload.batch_size,
            workload.batch_size * workload.prompt_tokens,
            workload.new_tokens,
            first - begin,
            self.clock.now_s - begin,
        )

    def energy(self) -> dict[str, Any]:
        return {}

    def _take_room(self, what: str, workload: Workload) -> None:
        self.did.append((what, self.k, workload.batch_size))
        if workload.batch_size > self.room.get(self.k, 1000):
            message = "the memory is full"
            raise InsufficientMemoryError(message)
