"""What calibration needs of a host's model, and what it works with itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.engines.transformers.model_at_k import ModelAtK
    from moe_eval_plugin.tuning.prompts.batches import Prompt


class RefusedPromptError(Exception):
    """A question cannot be put to the model."""

    def __init__(self, question: str, reason: str) -> None:
        super().__init__(f"{question} cannot be put to the model: {reason}")


@dataclass(frozen=True)
class LoadedModel:
    """A loaded transformers model of a host: a ``CalibrationModel``."""

    module: nn.Module
    """The model of transformers."""
    at_k: ModelAtK
    """What sets, verifies and restores its k."""
    config: ModelConfig
    """Its configuration, against which requests for experts are checked."""
    tokenizer: Any
    """Its tokenizer."""


class PromptModel(Protocol):
    """A loaded model of a host, whose prompts are put in batches with answers."""

    @property
    def loaded(self) -> LoadedModel:
        """What the calibration itself works with."""

    def verify(self, requests: Sequence[Any]) -> None:
        """Observe k on the first requests of a task.

        Raises ``OverrideNotEffectiveError`` where tokens use another one.
        """

    def prompts_of(self, requests: Sequence[Any]) -> list[Prompt]:
        """Return the prompts of one question.

        Raises ``RefusedPromptError`` where one cannot be put to the model.
        """

    def encoded_with_answers(
        self, prompts: Sequence[Prompt], n_tokens: int
    ) -> tuple[Mapping[str, Any], list[list[int]]]:
        """Return the inputs of prompts of one group, and the tokens of their answers.

        Generated answers have ``n_tokens`` at most.
        """
