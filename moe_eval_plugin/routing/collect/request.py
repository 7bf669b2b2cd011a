"""What is to be recorded: a model, and the questions that are put to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.option_values import read_int
from moe_eval_plugin.prompts.request import PromptRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

# The record of a token in 48 layers with k=8 takes about 3 kB.
MOST_TOKENS = 200_000


@dataclass(frozen=True)
class RoutingRequest(PromptRequest):
    """A model on transformers, and the questions whose tokens are recorded.

    Raises ``InvalidArgumentError`` for a value that is not possible.
    """

    experts_k: str | None = None
    """Another k than the published one, by number or by layer, for which all is recorded."""
    new_tokens: int = 0
    """Generated tokens of each answer that are recorded too; 0: only prompts are."""
    max_tokens: int = MOST_TOKENS
    """About how many tokens are recorded at most; each task gets an equal share."""

    own_because: ClassVar[str] = "traces are of the router's own choice"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("max_tokens", 1), ("new_tokens", 0)):
            read_int(name, getattr(self, name), at_least=least)
        schedule = parse_experts_k(self.experts_k)
        if schedule and any(rule.modality or rule.phase for rule in schedule.rules):
            message = (
                f"experts_k={self.experts_k} cannot be recorded: a layer of a trace has one k for "
                "all tokens. Use a number, or numbers by layer, such as 4 or 0-11:8/12-47:4."
            )
            raise InvalidArgumentError(message)

    def named_arguments(self) -> Mapping[str, str]:
        """Return the arguments of the model that the request itself names."""
        k = {} if self.experts_k is None else {"experts_k": self.experts_k}
        return {**super().named_arguments(), **k}
