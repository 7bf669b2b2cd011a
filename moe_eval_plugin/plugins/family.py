"""``Family``: an entry of the table of model families."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Kind = Literal[
    "text", "vision-language", "any-to-any", "text-to-text", "token-classification", "vision"
]
Renormalisation = Literal[
    "always",
    "by_construction",
    "norm_topk_prob",
    "moe_normalize_expert_weights",
    "expert_selection_fn",
    "joint",
    "never",
    "unknown",
]


class Proof(StrEnum):
    """How a change of k in a loaded model was tested against a model that was built with that k.

    Their outputs must be equal bit for bit, with k lowered and raised, and after k was restored.
    """

    IMAGE = "image"
    """Tested with an image among the inputs."""
    TEXT = "text"
    """Tested with text alone."""
    PARTLY = "partly"
    """Holds in some layers only, which a warning names."""
    NOT_TRIED = "not tried"
    """Not tested."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One model family: where its configuration stores k, and what its routers do.

    A vision-language model that takes any text model needs no entry, as its text part has one.
    """

    model_type: str
    """``model_type`` of its configuration; the ending ``_text`` of a text part needs no alias."""
    aliases: tuple[str, ...] = ()
    """Further model types with the same entry."""
    kind: Kind = "text"
    """What the model takes and returns."""
    config_part: str = ""
    """Dotted path to the part of the configuration that holds ``k_key`` and ``num_experts_key``.

    Empty for the configuration itself.
    """
    k_key: str | None = "num_experts_per_tok"
    """Configuration key of k; ``None`` where k is a constant of the code."""
    num_experts_key: str = "num_experts"
    """Configuration key of the number of routed experts in a layer."""
    num_experts_per_tok_in_code: int | None = None
    """k where it is a constant of the code."""
    min_num_experts_per_tok: int = 1
    """Smallest k that the code can run."""
    min_num_experts_per_tok_reason: str | None = None
    """Why it cannot run fewer, as the rest of a sentence after "because"."""
    enabled_key: str | None = None
    """Configuration key that must be true for experts to be used at all."""
    shared_experts_key: str | None = None
    """Configuration key of the number of shared experts, or of the size of a single one."""
    num_shared_experts: int | None = None
    """Number of shared experts where the code fixes it."""
    zero_experts_key: str | None = None
    """Configuration key of the number of experts that compute nothing."""
    num_zero_experts_included: int = 0
    """How many of the experts under ``num_experts_key`` compute nothing."""
    zero_expert_kinds: tuple[str, ...] = ()
    """The kind of each of these, in their order: ``zero``, ``copy`` or ``constant``.

    One kind stands for all of them.
    """
    scoring: str = ""
    """How the router scores experts, in words."""
    renormalise: Renormalisation = "unknown"
    """Whether the chosen weights are divided by their sum.

    ``always``, ``never``, ``by_construction`` (softmax over the chosen experts), ``joint``
    (together with the shared experts), or the configuration key that decides it.
    """
    has_selection_bias: bool = False
    """Experts are chosen by score plus bias, and weighted by the score."""
    has_groups: bool = False
    """A token reaches only the experts in its best ``topk_group`` of ``n_group`` groups."""
    dense_layer_keys: tuple[str, ...] = ()
    """Configuration keys that say which layers have no experts."""
    has_uniform_call: bool = True
    """Experts are called as ``experts(hidden_states, top_k_index, top_k_weights)``."""
    computes_all_experts: bool = False
    """Every expert runs on every token, and k decides only which results are kept."""
    fixed_k_reason: str | None = None
    """Why the router cannot use another k; ``None`` where it can."""
    warnings: tuple[str, ...] = ()
    """Lines for users who change k."""
    notes: tuple[str, ...] = ()
    """Lines for users who look the family up."""
    proof: Proof = Proof.NOT_TRIED
    """How a change of k was tested."""

    def kinds_of(self, num_zero_experts: int) -> tuple[str, ...]:
        """Return the kind of each expert that computes nothing; empty if they are not known."""
        kinds = self.zero_expert_kinds
        every = kinds * num_zero_experts if len(kinds) == 1 else kinds
        return every if len(every) == num_zero_experts else ()
