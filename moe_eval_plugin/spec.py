"""What was asked for: frozen data that knows nothing of models, hosts or engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidExpertCountError, NotAnMoEError

if TYPE_CHECKING:
    from moe_eval_plugin.families import MoEDescription

WANTED = "Give a whole number of routed experts per token, for instance experts_k=4."


@dataclass(frozen=True)
class ScheduleRule:
    """One part of a schedule: so many routed experts per token, for the tokens it speaks of.

    Today a rule speaks of every token in every layer. Rules for some layers, for image or text
    tokens, or for prefill or decode get a field here that says so.
    """

    num_experts_per_tok: int


@dataclass(frozen=True)
class ExpertSchedule:
    """The ``experts_k`` that a user asked for.

    ``text`` is what the user wrote, as it is stored with results. Of several rules, the last one
    that speaks of a token holds for it.
    """

    text: str
    rules: tuple[ScheduleRule, ...]

    def resolve(self, description: MoEDescription) -> ResolvedSchedule:
        """Check the schedule against a model, before any of its weights is loaded.

        Raises ``NotAnMoEError`` for a dense model, ``UnsupportedFamilyError`` where the router
        cannot use another k, and ``InvalidExpertCountError`` outside 1 to ``num_experts``.
        """
        if not description.is_moe:
            message = (
                f"experts_k={self.text} was asked of {description.model_type}, which is a dense "
                "model: it has no experts to choose from. Leave experts_k out to run it as a "
                "reference, or name an MoE model."
            )
            raise NotAnMoEError(message)
        description.raise_if_fixed()
        k = self.rules[-1].num_experts_per_tok
        if not 1 <= k <= description.num_experts:
            message = (
                f"experts_k={self.text} is not possible for {description.model_type}: its routers "
                f"choose among {description.num_experts} experts, and use "
                f"{description.num_experts_per_tok} of them as published. "
                f"Use 1 to {description.num_experts}."
            )
            raise InvalidExpertCountError(message)
        return ResolvedSchedule(schedule=self, num_experts_per_tok=k)


@dataclass(frozen=True)
class ResolvedSchedule:
    """A schedule that was checked against a model's description.

    ``num_experts_per_tok`` holds for each MoE layer of the model.
    """

    schedule: ExpertSchedule
    num_experts_per_tok: int


def parse_experts_k(value: object) -> ExpertSchedule | None:
    """Read the option ``experts_k``.

    Takes an ``int``, or its decimal digits as a string; ``None`` and the empty string mean that
    the model runs as published, and give ``None``. Anything else raises
    ``InvalidExpertCountError``. Whether the number is possible for a model is decided by
    ``ExpertSchedule.resolve``.
    """
    if value is None or value == "":
        return None
    text = str(value).strip()
    digits = text.removeprefix("+")
    if isinstance(value, bool) or not (digits.isascii() and digits.isdigit()):
        message = f"experts_k={text} is not a number of experts. {WANTED}"
        raise InvalidExpertCountError(message)
    return ExpertSchedule(text=text, rules=(ScheduleRule(num_experts_per_tok=int(digits)),))
