"""Text of the tokens that a page shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moe_eval_plugin.routing.statistics.tables import RoutingStudy

VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Vocabulary:
    """Texts of tokens, by their numbers."""

    texts: Mapping[int, str] = field(default_factory=dict)
    reason: str = ""
    """Why there are none; empty where there are."""

    def text(self, token_id: int) -> str:
        """Return the text of a token with visible spaces; ``#5`` where it is not known."""
        found = self.texts.get(token_id)
        if not found:
            return f"#{token_id}"
        return "".join(VISIBLE.get(letter, letter) for letter in found)


def shown_tokens(study: RoutingStudy) -> tuple[int, ...]:
    """Return the numbers of the tokens that the tables of a study have, ascending."""
    found: set[int] = set()
    for layer in study.layers:
        if layer.by_token is not None:
            found.update(one.token_id for one in layer.by_token.most_frequent)
            for tokens in layer.by_token.by_expert:
                found.update(one.token_id for one in tokens)
    return tuple(sorted(found))


def read_vocabulary(
    model: str, revision: str | None, token_ids: Iterable[int], *, trust_remote_code: bool = False
) -> Vocabulary:
    """Return the texts of tokens from the tokenizer of a model; nothing is downloaded.

    Without a tokenizer on this machine there are none, and ``reason`` says so.
    """
    from transformers import AutoTokenizer

    from moe_eval_plugin.errors import MoEEvalError
    from moe_eval_plugin.models.checkpoint import resolve

    wanted = list(token_ids)
    if not wanted:
        return Vocabulary()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            resolve(model),
            revision=revision,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
        )
    # A tokenizer can be absent or broken in as many ways as there are classes of them.
    except (MoEEvalError, OSError, ValueError, KeyError, TypeError, ImportError):
        reason = f"The tokenizer of {model} is not on this machine, so tokens have numbers."
        return Vocabulary(reason=reason)
    texts = {}
    for token_id in wanted:
        text = tokenizer.decode([token_id])
        # Part of a character has no text of its own.
        if not text or REPLACEMENT in text:
            text = tokenizer.convert_ids_to_tokens(token_id) or ""
        texts[token_id] = text
    return Vocabulary(texts)
