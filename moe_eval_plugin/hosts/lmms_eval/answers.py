"""Answers and scores of an engine, as lmms-eval takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmms_eval.api.instance import GenerationResult, TokenCounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.engines.request import GeneratedAnswer


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
    counts = TokenCounts(input_tokens=answer.n_input_tokens, output_tokens=answer.n_output_tokens)
    return GenerationResult(text=answer.text, token_counts=counts)


def as_score(answer: Any) -> tuple[float, bool]:  # noqa: ANN401  (an engine's own class)
    """Return the score of a continuation; one that could not be scored is impossible."""
    if answer is None or answer.log_probability is None or answer.is_greedy is None:
        return float("-inf"), False
    return answer.log_probability, answer.is_greedy
