"""What a schedule or a policy is chosen with: a model, and questions or random tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import read_int
from moe_eval_plugin.prompts.request import PromptRequest

N_QUESTIONS = 128
ANSWER_TOKENS = 8
RANDOM_TOKENS = 128


@dataclass(frozen=True)
class CalibrationRequest(PromptRequest):
    """A model on transformers, and the questions or random tokens that it is calibrated with.

    Raises ``InvalidArgumentError`` for a value that is not possible.
    """

    n_questions: int = N_QUESTIONS
    """Questions in all, shared equally by the tasks; with ``data_free`` rows of random tokens."""
    split: str | None = None
    """Split of the data that they are from; ``None`` is that for training, and for a task that
    has none the one that it evaluates."""
    seed: int = 0
    """Seed of the choice of questions, or of the random tokens."""
    answer_tokens: int = ANSWER_TOKENS
    """Tokens of each generated answer at most, its end token included."""
    data_free: bool = False
    """Whether random tokens take the place of prompts; then no tasks are named."""
    n_random_tokens: int = RANDOM_TOKENS
    """Tokens in each row of random ones."""

    own_because: ClassVar[str] = "tuning itself decides which experts tokens use"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("n_questions", 1), ("answer_tokens", 1), ("n_random_tokens", 2)):
            read_int(name, getattr(self, name), at_least=least)
        if self.data_free and (self.tasks or self.split):
            given = "tasks" if self.tasks else "a split"
            message = (
                f"Random tokens and {given} exclude each other: random tokens take the place of "
                "questions. Leave one of them out."
            )
            raise InvalidArgumentError(message)

    @property
    def needs_tasks(self) -> bool:
        """Whether tasks must be named."""
        return not self.data_free
