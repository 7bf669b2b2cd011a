"""Answers of an engine in the forms that lmms-eval takes, also where the engine failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmms_eval.api.instance import GenerationResult

from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.lmms_eval.answers.answer_ends import AnswerCounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moe_eval_plugin.engines.request import GeneratedAnswer


class PartialAnswers(list[Any]):
    """The answers before the first missing one; iterating past the last raises the error.

    lmms-eval stores answers in its response cache one by one, as it iterates over what a model
    returns.
    """

    def __init__(self, answers: Sequence[Any], error: Exception) -> None:
        super().__init__(answers)
        self._error = error

    @user_errors()
    def _fail(self) -> None:
        raise self._error

    def __iter__(self) -> Iterator[Any]:
        """Yield each answer, then end the process as a failed run ends."""
        yield from super().__iter__()
        self._fail()


def unbroken(answers: Mapping[int, Any]) -> Iterator[Any]:
    """Yield the answers in order, up to the first that is missing."""
    index = 0
    while index in answers:
        yield answers[index]
        index += 1


def as_result(answer: GeneratedAnswer | None) -> GenerationResult:
    """Return an answer as the host takes it; a request that was not run has an empty one."""
    if answer is None:
        return GenerationResult(text="")
    counts = AnswerCounts(
        input_tokens=answer.n_input_tokens,
        output_tokens=answer.n_output_tokens,
        ended_by=answer.ended_by,
    )
    return GenerationResult(text=answer.text, token_counts=counts)


def as_score(answer: Any) -> tuple[float, bool]:  # noqa: ANN401  (an engine's own class)
    """Return the score of a continuation; one that could not be scored is impossible."""
    if answer is None or answer.log_probability is None or answer.is_greedy is None:
        return float("-inf"), False
    return answer.log_probability, answer.is_greedy
