"""Settings of a routing study: how often things must occur, and how to resample."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.stats.resampling import Bootstrap

N_RESAMPLES = 1_000


@dataclass(frozen=True)
class StudyOptions:
    """Settings of a routing study.

    Raises ``InvalidArgumentError`` for a number below 1.
    """

    min_count: int = 50
    """Occurrences that a token needs to count as specialised or not."""
    min_questions: int = 5
    """Questions that it must occur in: the tokens of one question share their context."""
    n_tokens: int = 30
    """Most frequent tokens that are listed for each layer."""
    n_tokens_of_expert: int = 5
    """Tokens that are listed for each expert."""
    n_pairs: int = 20
    """Pairs of experts that are listed for each layer."""
    min_expected: int = 5
    """Tokens that must be expected of a pair of experts for its lift to be given."""
    n_token_shuffles: int = 5
    """Shuffles of the tokens' ids, for the level of chance."""
    n_task_shuffles: int = 20
    """Shuffles of the questions' tasks, for the level of chance."""
    min_interval_questions: int = 10
    """Questions that a confidence interval needs."""
    bootstrap: Bootstrap = field(default_factory=lambda: Bootstrap(n_resamples=N_RESAMPLES))

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, int) and value < 1:
                message = f"{entry.name}={value} is not possible. Use 1 or more."
                raise InvalidArgumentError(message)
