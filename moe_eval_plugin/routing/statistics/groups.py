"""Groups of tokens that a study tells apart, and the questions that tokens belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.routing.statistics.tables import TokenGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.routing.trace import RoutingTrace, Tokens

ALL = TokenGroup("all", "all")


@dataclass(frozen=True)
class GroupTokens:
    """The tokens of one group."""

    group: TokenGroup
    mask: NDArray[np.bool_]
    """Whether each token of the trace belongs to the group, ``(n_tokens,)``."""


def groups_of(trace: RoutingTrace) -> tuple[GroupTokens, ...]:
    """Return the groups of a trace: all tokens, then modalities, phases, tasks.

    Each of the three kinds is there only where the tokens are of several.
    """
    return (GroupTokens(ALL, trace.tokens.where()), *_several(trace))


def _several(trace: RoutingTrace) -> Iterator[GroupTokens]:
    if len(trace.modalities) > 1:
        for modality in trace.modalities:
            mask = trace.tokens.where(modality=modality)
            yield GroupTokens(TokenGroup("modality", modality), mask)
    if len(trace.phases) > 1:
        for phase in trace.phases:
            yield GroupTokens(TokenGroup("phase", phase), trace.tokens.where(phase=phase))
    masks = [trace.tokens.where(task=number) for number in range(len(trace.tasks))]
    present = [(name, mask) for name, mask in zip(trace.tasks, masks, strict=True) if mask.any()]
    if len(present) > 1:
        for name, mask in present:
            yield GroupTokens(TokenGroup("task", name), mask)


def question_codes(tokens: Tokens) -> NDArray[np.int64]:
    """Return the number of each token's question, ``(n,)``: 0, 1, ... over all tasks."""
    import numpy as np

    pairs = (tokens.task.astype(np.int64) << 32) | tokens.question
    codes: NDArray[np.int64] = np.unique(pairs, return_inverse=True)[1]
    return codes
