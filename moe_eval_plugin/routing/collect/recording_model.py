"""What a trace is collected with: a loaded model of a host, and the labels of its texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from moe_eval_plugin.override.recording.recorded import RowLabel
from moe_eval_plugin.routing.collect.known_texts import KnownTexts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.override.recording.record_choices import ChoiceRecorder


class RecordingModel(Protocol):
    """A loaded model of a host, whose prompts are recorded; requests are the host's."""

    @property
    def module(self) -> nn.Module:
        """The model of transformers."""

    @property
    def end_tokens(self) -> set[int]:
        """Tokens that end an answer, and the one that fills rows behind it."""

    @property
    def engine_request(self) -> ExpertRequest:
        """The request for experts that is in force."""

    def verify(self, requests: Sequence[Any]) -> None:
        """Observe k on the first requests of a task.

        Raises ``OverrideNotEffectiveError`` where tokens use another one.
        """

    def record(self, recorder: ChoiceRecorder, requests: Sequence[Any], labeller: Labeller) -> None:
        """Put requests of one task to the model, and record the choices of their tokens."""

    def close(self) -> None:
        """Restore the model's own k."""


class Labeller:
    """Labels the texts of one task after the other, in the order in which the host asks them.

    ``batch_size`` texts are put to the model at once, and ``new_tokens`` of each answer recorded.
    """

    def __init__(self, batch_size: int, new_tokens: int) -> None:
        self.batch_size = batch_size
        self.new_tokens = new_tokens
        self._task = self._first = self._next = 0
        self._known = KnownTexts()

    def begin(self, task: int) -> None:
        """Begin with further requests of a task, whose texts follow those before."""
        self._task, self._first = task, self._next

    def label(self, index: int, question: int, tokens: Sequence[int]) -> RowLabel:
        """Return the label of a text; ``index`` is its number among these requests."""
        n_known = self._known.add((self._task, question), tokens)
        sequence = self._first + index
        self._next = max(self._next, sequence + 1)
        return RowLabel(self._task, question, sequence, n_known)
