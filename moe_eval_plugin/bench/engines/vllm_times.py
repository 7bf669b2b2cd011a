"""What vLLM's stamps say about a batch of requests that was handed in at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.request_times import RequestTimes, request_phases
from moe_eval_plugin.measure.timing import PhaseTimes

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class BatchTimes:
    """The times of a batch, all by the clock of vLLM's engine.

    ``ttft_s`` and ``e2e_latency_s`` reach from the moment at which the first request was handed in
    to the last first token, and to the last token. ``prefill_s`` begins with the first prompt that
    vLLM took up, and ends with the last first token; ``decode_s`` is what follows. ``ran_at_once``
    is false if a request waited until another one had ended, or was put back for lack of memory.
    """

    requests: tuple[RequestTimes, ...]
    ttft_s: float
    e2e_latency_s: float
    prefill_s: float
    ran_at_once: bool

    @classmethod
    def read(cls, handed_in: float, outputs: Sequence[Any]) -> BatchTimes:
        """Read vLLM's ``RequestOutput`` of each request."""
        stats = [one.metrics for one in outputs]
        last_first = max(one.first_token_ts for one in stats)
        last_begin = max(one.scheduled_ts for one in stats)
        return cls(
            requests=tuple(map(_request_times, outputs)),
            ttft_s=last_first - handed_in,
            e2e_latency_s=max(one.last_token_ts for one in stats) - handed_in,
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
        """See the batch as one prefill, and the steps of decoding behind it."""
        return PhaseTimes(
            vision_s=None,
            prefill_s=self.prefill_s,
            decode_s=self.e2e_latency_s - self.ttft_s,
            first_token_s=self.ttft_s,
            n_decode_steps=new_tokens - 1,
        )

    def of_requests(self) -> dict[str, Any]:
        """Describe the parts of a request's time: queue, prefill, decode, per token."""
        return request_phases(self.requests)


def _request_times(output: Any) -> RequestTimes:  # noqa: ANN401  (a RequestOutput)
    n_new = len(output.outputs[0].token_ids)
    return RequestTimes.read(output.metrics, len(output.prompt_token_ids), n_new)
