"""What calibration works with: prompts with the published model's answers, and a loaded model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.engines.transformers.model_at_k import ModelAtK
    from moe_eval_plugin.experts.schedules.tuning_record import CalibrationQuestions


@dataclass(frozen=True)
class PromptBatch:
    """Some prompts, each followed by the tokens of its answer.

    The prompts are padded on the left to ``n_prompt`` columns and the answers on the right, so
    that all answers begin in one column. The last token of an answer is predicted and never put
    to the model.
    """

    inputs: Mapping[str, Any]
    """Arguments of the model, on the CPU; ``input_ids`` is (rows, n_prompt + answer - 1)."""
    n_prompt: int
    """Columns of the prompts."""
    answer_ids: Tensor
    """Tokens of the answers, (rows, answer), -1 behind the last one of a row."""
    questions: tuple[int, ...] = ()
    """The question of each row, by its number among all; one that is asked with several prompts,
    as a multiple-choice question is with one for each choice, has several rows. Empty where each
    row is a question of its own."""

    @property
    def n_rows(self) -> int:
        """Number of prompts."""
        return int(self.answer_ids.shape[0])


@dataclass(frozen=True)
class CalibrationPrompts:
    """All prompts of a calibration, and the questions that they are from."""

    batches: Sequence[PromptBatch]
    """The prompts, those of similar length together."""
    questions: tuple[CalibrationQuestions, ...]
    """Where they are from; empty for random tokens."""

    @property
    def n_prompts(self) -> int:
        """Number of prompts."""
        return sum(batch.n_rows for batch in self.batches)

    @property
    def n_questions(self) -> int:
        """Number of questions; of random tokens, each row counts as one."""
        return len(set(self._numbers))

    def by_question(self, of_prompts: Sequence[float]) -> NDArray[np.float64]:
        """Return the mean over the prompts of each question, in the order of the questions.

        ``of_prompts`` has a number for each row of each batch.
        """
        _, at = np.unique(self._numbers, return_inverse=True)
        means: NDArray[np.float64] = np.bincount(at, weights=of_prompts) / np.bincount(at)
        return means

    @property
    def _numbers(self) -> Sequence[int]:
        """The question of each row of each batch."""
        numbers = [question for batch in self.batches for question in batch.questions]
        return numbers or range(self.n_prompts)


class CalibrationModel(Protocol):
    """A loaded transformers model of a host, whose k can be set and verified."""

    @property
    def module(self) -> nn.Module:
        """The model of transformers."""

    @property
    def at_k(self) -> ModelAtK:
        """What sets, verifies and restores its k."""

    @property
    def config(self) -> ModelConfig:
        """Its configuration, against which requests for experts are checked."""
