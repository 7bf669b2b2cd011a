"""What is known of a model family, as a record: the entry of the table of families."""

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
    """How well it was proven that a live change of k does what a rebuilt model does.

    Both must give the same output bit for bit, with k lowered and raised, and after k was
    restored: ``IMAGE`` with an image among the inputs, ``TEXT`` with text alone. ``PARTLY``
    means in some layers only, which a warning names.
    """

    IMAGE = "image"
    TEXT = "text"
    PARTLY = "partly"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, kw_only=True)
class Family:
    """One model family: where its configuration keeps k, and what its routers do.

    ``model_type`` is the one of its configuration, ``aliases`` are others that stand for it; the
    ending ``_text`` of a text part needs none. A vision-language model that takes any text model
    needs no entry, as its text part has one.

    ``config_part`` is the dotted path to the part of the configuration that holds ``k_key`` and
    ``num_experts_key``, and is empty for the configuration itself. Where k is a constant of the
    code it is ``num_experts_per_tok_in_code``, and ``k_key`` is ``None``. Experts are used only
    if ``enabled_key``, where it is given, is true.

    ``shared_experts_key`` counts the shared experts, or holds the size of a single one;
    ``num_shared_experts`` is their number where the code fixes it. ``zero_experts_key`` counts
    experts that compute nothing; ``num_zero_experts_included`` is how many of ``num_experts_key``
    they are where that key counts them too.

    ``renormalise`` tells whether the chosen weights are divided by their sum: ``always``,
    ``never``, ``by_construction`` (softmax over the chosen), ``joint`` (together with the shared
    experts), or as the configuration says under the key of that name. ``has_selection_bias``:
    experts are chosen by score plus bias, and weighted by the score. ``has_groups``: a token
    reaches only the experts in its best ``topk_group`` of ``n_group`` groups.

    ``dense_layer_keys`` say which layers have no experts. ``has_uniform_call`` is false where
    experts are not called as ``experts(hidden_states, top_k_index, top_k_weights)``.
    ``computes_all_experts``: every expert runs on every token, and k decides only what is kept.
    ``fixed_k_reason`` is set where the router cannot use another k. ``warnings`` are shown to
    whoever changes k; ``notes`` are for those who ask.
    """

    model_type: str
    aliases: tuple[str, ...] = ()
    kind: Kind = "text"
    config_part: str = ""
    k_key: str | None = "num_experts_per_tok"
    num_experts_key: str = "num_experts"
    num_experts_per_tok_in_code: int | None = None
    min_num_experts_per_tok: int = 1
    enabled_key: str | None = None
    shared_experts_key: str | None = None
    num_shared_experts: int | None = None
    zero_experts_key: str | None = None
    num_zero_experts_included: int = 0
    scoring: str = ""
    renormalise: Renormalisation = "unknown"
    has_selection_bias: bool = False
    has_groups: bool = False
    dense_layer_keys: tuple[str, ...] = ()
    has_uniform_call: bool = True
    computes_all_experts: bool = False
    fixed_k_reason: str | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    proof: Proof = Proof.NOT_TRIED
