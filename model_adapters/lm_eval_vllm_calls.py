"""Measure the calls of vLLM that a method of lm-eval makes for one task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.messages import name_of
from moe_eval_plugin.engines.vllm.request_times import RequestTimes, as_batch, ended_by
from moe_eval_plugin.hosts.run_recorder import raise_unless_few
from moe_eval_plugin.measure.timing import LapTimer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.engines.vllm.running import RunningVLLM
    from moe_eval_plugin.hosts.lm_eval.asked import Answered
    from moe_eval_plugin.hosts.lm_eval.model import TaskCall


class TimedCalls:
    """Reports each call as a batch once the next one begins, or the task ends.

    By then the host has read the answers, and that time belongs to the batch: all batches add up to
    the time of the task. Latencies are those that vLLM's engine stamps for each request.
    """

    def __init__(self, call: TaskCall, running: RunningVLLM) -> None:
        self.call = call
        self.times: list[RequestTimes] = []
        self.n_not_finite = 0
        self.generates = False
        # Whether the task names no temperature, so that the likeliest tokens were chosen.
        self.is_greedy_by_default = False
        self._running = running
        self._batch: list[RequestTimes] = []
        # vLLM returns answers that its device has computed: there is nothing to wait for.
        self._laps = LapTimer(lambda: None)

    def begin(self) -> None:
        """End the batch of the call before."""
        if self._batch:
            self._report(self.call.asked.take())

    def add(self, outputs: Sequence[Any], limits: Sequence[int] | None) -> None:
        """Note what vLLM returned, with the most tokens of each answer; ``None`` for scores.

        Of an answer from NaN the text is emptied; such a score becomes minus infinity.
        """
        self.generates = limits is not None
        with self._laps.paused():
            bad = self._running.not_finite()
            for position, output in enumerate(outputs):
                completion = output.outputs[0]
                is_bad = _replace_nan(output) or name_of(output) in bad
                self.n_not_finite += is_bad
                # The one token that vLLM generates after a text to be scored is no answer.
                n_generated = 0 if limits is None else len(completion.token_ids)
                n_input = len(output.prompt_token_ids)
                self._batch.append(RequestTimes.read(output.metrics, n_input, n_generated))
                if limits is not None:
                    completion.text = "" if is_bad else completion.text
                    end = None if is_bad else ended_by(completion)
                    self.call.ends.add(self.call.task, completion.text, end, limits[position])

    def finish(self) -> None:
        """End the last batch; ``NotFiniteError`` where more than a few answers came from NaN."""
        if self._batch:
            self._report(self.call.asked.take_rest())
        raise_unless_few(self.call.task, self.n_not_finite, len(self.times))

    def _report(self, answered: Answered) -> None:
        batch = as_batch(
            self._batch,
            self.call.task,
            self._laps.lap(),
            answered.n_questions,
            is_shared=self._running.is_shared,
        )
        self.times += self._batch
        self._batch = []
        if self.call.report(batch, answered.n_requests):
            self._laps.restart()


def _replace_nan(output: Any) -> bool:  # noqa: ANN401  (vLLM's RequestOutput)
    """Replace NaN among the log-probabilities of a prompt; whether there was one."""
    bad = [
        one
        for of_token in output.prompt_logprobs or ()
        for one in (of_token or {}).values()
        if math.isnan(one.logprob)
    ]
    for one in bad:
        one.logprob = -math.inf
    return bool(bad)
