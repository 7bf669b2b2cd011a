"""Render the table of families: for a terminal, as JSON and for the documentation."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.models.families import family_of, table
from moe_eval_plugin.plugins.family import Family, Proof
from moe_eval_plugin.text import align, did_you_mean, fit, labelled, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

# The columns that say whether a model can be used; the others are for --wide.
MAIN = ("family", "kind", "k can be changed")
HEADER = ("family", "kind", "k is in", "weights of the chosen", "proof", "k can be changed")
UNNAMED = (
    "A vision-language model that may contain any text model is listed by the model type of its "
    "text part."
)
RENORMALISATION = {
    "always": "add up to 1",
    "by_construction": "add up to 1",
    "norm_topk_prob": "set by norm_topk_prob",
    "moe_normalize_expert_weights": "set by moe_normalize_expert_weights",
    "expert_selection_fn": "set by expert_selection_fn",
    "joint": "add up to 1 with the shared",
    "never": "not renormalised",
    "unknown": "not known",
}
PROOFS = {
    Proof.IMAGE: "a live change equals a rebuilt model bit for bit, with an image too",
    Proof.TEXT: "a live change equals a rebuilt model bit for bit, on text",
    Proof.PARTLY: "a live change works in some layers only, see the warning",
    Proof.NOT_TRIED: "not compared with a rebuilt model",
}


def families() -> list[Family]:
    """List every registered family, by name."""
    return sorted(table().values(), key=lambda family: family.model_type.lower())


def find(name: str) -> Family:
    """Return the family of a model type or alias; ``InvalidArgumentError`` if it is unknown."""
    family = family_of((name,))
    if family is None:
        message = (
            f"No family is called {name}.{did_you_mean(name, table())} "
            "Run `moe-eval families` for all of them. A model of an unlisted family may work too: "
            "`moe-eval inspect MODEL` shows what its configuration states."
        )
        raise InvalidArgumentError(message)
    return family


def to_dict(family: Family) -> dict[str, Any]:
    """Return a family as plain data, ready for JSON."""
    return {**asdict(family), "proof": family.proof.value}


def rows(shown: Sequence[Family]) -> list[tuple[str, ...]]:
    """Return the cells of the table, a row per family, in the order of ``HEADER``."""
    return [
        (
            family.model_type,
            family.kind,
            _where(family),
            RENORMALISATION[family.renormalise],
            _proof(family),
            _changeable(family),
        )
        for family in shown
    ]


def render_all(shown: Sequence[Family], *, wide: bool = False) -> str:
    """Return the table for a terminal; if ``wide``, all columns with an explanation of the proofs.

    A wide table is as wide as it needs: it is for a wide window, or a file.
    """
    table = [HEADER, *rows(shown)]
    if wide:
        meanings = labelled((f"  {proof.value}", meaning) for proof, meaning in PROOFS.items())
        return "\n".join([*align(table), "", "proof:", *meanings, "", *wrap(UNNAMED)])
    main = [[row[HEADER.index(name)] for name in MAIN] for row in table]
    more = "`moe-eval families NAME` shows all of one family, --wide all columns."
    return "\n".join([*fit(main), "", *wrap(UNNAMED), *wrap(more)])


def render(family: Family) -> str:
    """Return everything in the table about one family, for a terminal."""
    facts = [
        ("family", family.model_type),
        ("other names", ", ".join(family.aliases)),
        ("kind", family.kind),
        ("k is in", _where(family)),
        ("k can be changed", _changeable(family)),
        ("number of experts", _path(family, family.num_experts_key)),
        ("experts are used if", _path(family, family.enabled_key)),
        ("shared experts", _shared(family)),
        ("zero-computation", _zero(family)),
        ("dense layers", ", ".join(family.dense_layer_keys) or "none"),
        ("scoring", family.scoring or "not known"),
        ("weights of the chosen", RENORMALISATION[family.renormalise]),
        ("limit on k", _limit(family)),
        ("experts are called", _call(family)),
        ("proof", PROOFS[family.proof]),
        *(("warning", warning) for warning in family.warnings),
        *(("note", note) for note in family.notes),
    ]
    return "\n".join(labelled(fact for fact in facts if fact[1]))


def _where(family: Family) -> str:
    if family.num_experts_per_tok_in_code is not None:
        return f"fixed at {family.num_experts_per_tok_in_code} in code"
    return _path(family, family.k_key)


def _path(family: Family, key: str | None) -> str:
    return ".".join(part for part in (family.config_part, key) if part) if key else ""


def _proof(family: Family) -> str:
    return "-" if family.fixed_k_reason else family.proof.value


def _changeable(family: Family) -> str:
    return f"no: {family.fixed_k_reason}" if family.fixed_k_reason else "yes"


def _shared(family: Family) -> str:
    if family.num_shared_experts is not None:
        return str(family.num_shared_experts)
    return _path(family, family.shared_experts_key) or "none"


def _zero(family: Family) -> str:
    """Return where the number of experts without an FFN is, and the kinds of these experts."""
    where = _path(family, family.zero_experts_key)
    if family.num_zero_experts_included:
        where = f"the last {family.num_zero_experts_included} of {family.num_experts_key}"
    kinds = ", ".join(family.zero_expert_kinds)
    return f"{where} ({kinds})" if where and kinds else where


def _limit(family: Family) -> str:
    limits = [f"at least {family.min_num_experts_per_tok}"] * (family.min_num_experts_per_tok > 1)
    if family.has_groups:
        limits.append("at most the experts in topk_group of n_group groups, where n_group > 1")
    return ", ".join(limits)


def _call(family: Family) -> str:
    if family.has_uniform_call:
        return "experts(hidden_states, top_k_index, top_k_weights)"
    return "in a way of its own"
