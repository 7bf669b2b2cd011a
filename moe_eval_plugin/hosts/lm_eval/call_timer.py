"""Time the batches of a host's own method, from the calls of the model that it makes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.hosts.run_recorder import raise_unless_few

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moe_eval_plugin.hosts.lm_eval.asked import Answered
    from moe_eval_plugin.hosts.lm_eval.model import TaskCall
    from moe_eval_plugin.measure.stopwatch import Stopwatch


class CallTimer:
    """Reports each batch of one task once the next one begins, or when the task ends.

    By then the host has read the answers out of the model's output, and this time belongs to the
    batch. So all batches add up to the time of the task.
    """

    def __init__(self, call: TaskCall, watch: Stopwatch) -> None:
        self.call = call
        self._watch = watch
        self._is_called = False
        self._n_input_tokens = 0
        self._output_tokens: Sequence[int] | None = None
        self._is_shared = False
        self.n_not_finite = 0
        self._n_requests = 0

    @property
    def on_token(self) -> Callable[[], None] | None:
        """The function to call when a token was chosen; ``None`` where phases are not recorded."""
        return self._watch.on_token

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """Time the encoding of a batch, which begins with it."""
        self._end()
        with self._watch.encoding():
            yield

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Time a call of the model, with which a batch begins unless it was encoded before."""
        self._end()
        with self._watch.calling():
            yield
        self._is_called = True

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        """Leave the time of the block out of that of the task."""
        with self._watch.paused():
            yield

    def generated(self, n_input_tokens: int, output_tokens: Sequence[int]) -> None:
        """Note the tokens of a batch of generated answers, without padding."""
        self._n_input_tokens = n_input_tokens
        self._output_tokens = output_tokens

    def shared(self) -> None:
        """Note that the requests of a batch shared what their prompts begin with."""
        self._is_shared = True

    def finish(self) -> None:
        """Report the last batch, with all requests that the host has not reported one by one.

        Raises ``NotFiniteError`` where more than a few answers were computed from NaN or infinity.
        """
        if self._is_called:
            self._report(self.call.asked.take_rest())
        raise_unless_few(self.call.task, self.n_not_finite, self._n_requests)

    def _end(self) -> None:
        if self._is_called:
            self._report(self.call.asked.take())

    def _report(self, answered: Answered) -> None:
        is_scored, output_tokens = self._output_tokens is None, self._output_tokens or ()
        n_input_tokens = answered.n_prompt_tokens if is_scored else self._n_input_tokens
        n = answered.n_questions
        batch = self._watch.lap(self.call.task, n, n_input_tokens, output_tokens)
        if is_scored:
            # Requests of one question lie in several batches, so it has no latency.
            batch = replace(batch, encode_s=None, is_shared=self._is_shared)
        self._is_called, self._n_input_tokens, self._output_tokens = False, 0, None
        self._is_shared = False
        self._n_requests += answered.n_requests
        if self.call.report(batch, answered.n_requests):
            self._watch.restart()
