"""What a configuration says of the experts of a model: ``MoEDescription``."""

from __future__ import annotations

from dataclasses import dataclass

from moe_eval_plugin.errors import UnsupportedFamilyError


def halves(largest: int, smallest: int = 1) -> tuple[int, ...]:
    """List a number and its halves, rounded down, to the smallest: 8, 4, 2, 1."""
    found = [largest]
    while found[-1] // 2 >= smallest:
        found.append(found[-1] // 2)
    return tuple(found)


@dataclass(frozen=True)
class MoEDescription:
    """The experts of a model, as its configuration states them.

    ``num_experts_per_tok`` counts routed experts, as published (the baseline); shared experts
    are counted apart in ``num_shared_experts``, and experts that compute nothing in
    ``num_zero_experts``. ``norm_topk_prob`` is ``None`` where it is not known whether the chosen
    weights are renormalised. A dense model has ``is_moe`` false and counts of 0.

    k may be set from ``min_num_experts_per_tok`` to ``max_num_experts_per_tok``. The latter is
    ``num_experts`` unless it is given: a token may reach fewer experts, and the smallest layer
    may have fewer. ``family`` is the entry of the table that was used, and ``warnings`` are its.
    """

    model_type: str
    is_moe: bool
    num_experts: int
    num_experts_per_tok: int
    num_shared_experts: int
    num_zero_experts: int
    norm_topk_prob: bool | None
    fixed_k_reason: str | None = None
    family: str | None = None
    warnings: tuple[str, ...] = ()
    min_num_experts_per_tok: int = 1
    max_num_experts_per_tok: int = 0
    computes_all_experts: bool = False

    def __post_init__(self) -> None:
        if not self.max_num_experts_per_tok:
            object.__setattr__(self, "max_num_experts_per_tok", self.num_experts)

    def raise_if_fixed(self) -> None:
        """Raise ``UnsupportedFamilyError`` where the router cannot use another k."""
        if self.fixed_k_reason is not None:
            message = (
                f"experts_k cannot be set for {self.model_type}: {self.fixed_k_reason}. "
                f"Leave experts_k out to run the model with its k of {self.num_experts_per_tok}."
            )
            raise UnsupportedFamilyError(message)
