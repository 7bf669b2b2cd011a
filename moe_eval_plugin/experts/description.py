"""Description of a model's experts, as its configuration states them."""

from __future__ import annotations

from dataclasses import dataclass

from moe_eval_plugin.errors import UnsupportedFamilyError


def halves(largest: int, smallest: int = 1) -> tuple[int, ...]:
    """List a number and its halves, rounded down, as far as ``smallest``: 8, 4, 2, 1."""
    found = [largest]
    while found[-1] // 2 >= smallest:
        found.append(found[-1] // 2)
    return tuple(found)


@dataclass(frozen=True)
class MoEDescription:
    """Description of a model's experts, as its configuration states them."""

    model_type: str
    """Model type of the whole configuration."""
    is_moe: bool
    """Whether the model has routed experts; a dense model has counts of 0."""
    num_experts: int
    """Routed experts of an MoE layer that compute; of the largest layer where layers differ."""
    num_experts_per_tok: int
    """Active routed experts per token of the published model: the baseline k."""
    num_shared_experts: int
    """Experts that every token uses; they do not count in k."""
    num_zero_experts: int
    """Routed experts that compute nothing, besides ``num_experts``."""
    norm_topk_prob: bool | None
    """Whether the chosen weights are divided by their sum; ``None`` if unknown."""
    fixed_k_reason: str | None = None
    """Why k cannot be changed; ``None`` if it can."""
    family: str | None = None
    """Model type of the family in the table that was used; ``None`` for the general rule."""
    warnings: tuple[str, ...] = ()
    """Warnings of the family for whoever changes k."""
    min_num_experts_per_tok: int = 1
    """Smallest k that can be set."""
    min_num_experts_per_tok_reason: str | None = None
    """Why it cannot be smaller; ``None`` where it is 1."""
    max_num_experts_per_tok: int = 0
    """Largest k that can be set: ``num_experts``, or fewer if groups or a smaller layer limit it.

    0 means ``num_experts``.
    """
    unknown_k_of: int = 0
    """Experts that the configuration of a model states without the number that a token uses."""
    computes_all_experts: bool = False
    """Whether every expert computes every token, so that k decides only which outputs are kept."""
    zero_expert_kinds: tuple[str, ...] = ()
    """The kind of each expert that computes nothing; empty where the kinds are not known."""

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
