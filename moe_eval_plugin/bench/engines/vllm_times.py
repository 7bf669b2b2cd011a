"""Compute the times of a batch from the time stamps of vLLM's requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.request_times import RequestTimes, request_phases
from moe_eval_plugin.measure.timing import PhaseTimes

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class BatchTimes:
    """The times of a batch that was submitted at once, by the clock of vLLM's engine."""

    requests: tuple[RequestTimes, ...]
    """The times of each request."""
    ttft_s: float
    """Seconds from the submission to the first token of every request."""
    e2e_latency_s: float
    """Seconds from the submission to the last token."""
    prefill_s: float
    """Seconds from the first scheduled prompt to the first token of every request."""
    ran_at_once: bool
    """False if a request waited until another one ended, or was preempted for lack of memory."""

    @classmethod
    def read(cls, submitted: float, outputs: Sequence[Any]) -> BatchTimes:
        """Return the times from vLLM's ``RequestOutput`` of each request."""
        stats = [one.metrics for one in outputs]
        last_first = max(one.first_token_ts for one in stats)
        last_begin = max(one.scheduled_ts for one in stats)
        return cls(
            requests=tuple(map(_request_times, outputs)),
            ttft_s=last_first - submitted,
            e2e_latency_s=max(one.last_token_ts for one in stats) - submitted,
            prefill_s=last_first - min(one.scheduled_ts for one in stats),
            ran_at_once=(
                last_begin < min(one.last_token_ts for one in stats)
                and not any(one.num_preemptions for one in stats)
            ),
        )

    @property
    def n_output_tokens(self) -> tuple[int, ...]:
        """Tokens of each answer."""
        return tuple(one.n_output_tokens for one in self.requests)

    def phases(self, new_tokens: int) -> PhaseTimes:
        """Return the phases of the batch as one prefill, followed by decode steps."""
        return PhaseTimes(
            vision_s=None,
            prefill_s=self.prefill_s,
            decode_s=self.e2e_latency_s - self.ttft_s,
            first_token_s=self.ttft_s,
            n_decode_steps=new_tokens - 1,
        )

    def of_requests(self) -> dict[str, Any]:
        """Return the parts of a request's time: queue, prefill, decode, per token."""
        return request_phases(self.requests)


def _request_times(output: Any) -> RequestTimes:  # noqa: ANN401  (a RequestOutput)
    n_new = len(output.outputs[0].token_ids)
    return RequestTimes.read(output.metrics, len(output.prompt_token_ids), n_new)
