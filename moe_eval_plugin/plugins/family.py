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
    """How a change of k in a loaded model was tested, against a model that was built with that k.

    The outputs of the two must be equal bit for bit, with a lower and a higher k. So must the
    outputs before the change and after k is restored.
    """

    IMAGE = "image"
    """Tested with an image among the inputs."""
    TEXT = "text"
    """Tested with text alone."""
    PARTLY = "partly"
    """True in some layers only; a warning names them."""
    NOT_TRIED = "not tried"
    """Not tested."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A model family: where its configuration stores k, and how its router works.

    A vision-language model needs no entry if its text model has one. Example::

        Family(
            model_type="my_moe",
            k_key="picks",
            num_experts_key="choices",
            scoring="softmax over all experts, then the k largest",
            renormalise="always",
        )
    """

    model_type: str
    """``model_type`` of its configuration. A text part with the ending ``_text`` is found too."""
    aliases: tuple[str, ...] = ()
    """More model types that this entry describes."""
    kind: Kind = "text"
    """What goes into the model and what comes out."""
    config_part: str = ""
    """Dotted path to the part of the configuration with ``k_key`` and ``num_experts_key``.

    Empty if the configuration itself has them.
    """
    k_key: str | None = "num_experts_per_tok"
    """Configuration key of k; ``None`` if the code fixes k."""
    num_experts_key: str = "num_experts"
    """Configuration key of the number of routed experts in a layer."""
    num_experts_per_tok_in_code: int | None = None
    """The k that the code fixes."""
    min_num_experts_per_tok: int = 1
    """Smallest k with which the code runs."""
    min_num_experts_per_tok_reason: str | None = None
    """Why a smaller k does not run, as the rest of a sentence after "because"."""
    enabled_key: str | None = None
    """Configuration key that must be true; otherwise the model uses no experts."""
    shared_experts_key: str | None = None
    """Configuration key of the number of shared experts, or of the size of the only one."""
    num_shared_experts: int | None = None
    """Number of shared experts, if the code fixes it."""
    zero_experts_key: str | None = None
    """Configuration key of the number of experts that compute nothing (zero experts)."""
    num_zero_experts_included: int = 0
    """How many of the experts counted by ``num_experts_key`` compute nothing."""
    zero_expert_kinds: tuple[str, ...] = ()
    """The kind of each zero expert, in order: ``zero``, ``copy`` or ``constant``.

    A single kind holds for all zero experts.
    """
    scoring: str = ""
    """How the router scores experts, in words."""
    renormalise: Renormalisation = "unknown"
    """Whether the router divides the weights of the chosen experts by their sum.

    ``always``, ``never``, ``by_construction`` (softmax over the chosen experts), ``joint``
    (together with the shared experts), or the configuration key that decides.
    """
    has_selection_bias: bool = False
    """Whether the router chooses experts by score plus bias, and weights them by score alone."""
    has_groups: bool = False
    """Whether a token chooses only among the experts of its best ``topk_group`` groups."""
    dense_layer_keys: tuple[str, ...] = ()
    """Configuration keys that say which layers are dense."""
    has_uniform_call: bool = True
    """Whether the model calls ``experts(hidden_states, top_k_index, top_k_weights)``."""
    computes_all_experts: bool = False
    """Whether every expert runs on every token, so that k decides only which results count."""
    fixed_k_reason: str | None = None
    """Why the router cannot use another k; ``None`` if it can."""
    warnings: tuple[str, ...] = ()
    """Warnings for users who change k."""
    notes: tuple[str, ...] = ()
    """Notes for users who look up the family."""
    proof: Proof = Proof.NOT_TRIED
    """How a change of k was tested. Leave the default, unless you made such a test."""

    def kinds_of(self, num_zero_experts: int) -> tuple[str, ...]:
        """Return the kind of each zero expert; empty if the kinds are unknown."""
        kinds = self.zero_expert_kinds
        every = kinds * num_zero_experts if len(kinds) == 1 else kinds
        return every if len(every) == num_zero_experts else ()
