"""Text of the tokens that a page shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, MoEEvalError
from moe_eval_plugin.text import one_line

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
    source: str, revision: str | None, token_ids: Iterable[int], *, trust_remote_code: bool = False
) -> Vocabulary:
    """Return the texts of tokens, from the tokenizer of a model or folder; nothing is downloaded.

    Raises ``DataError`` where there is no such tokenizer on this machine, or it is broken.
    """
    from transformers import AutoTokenizer

    from moe_eval_plugin.models.checkpoint import resolve

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            resolve(source),
            revision=revision,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
        )
    # A tokenizer can be absent or broken in as many ways as there are classes of them.
    except (MoEEvalError, OSError, ValueError, KeyError, TypeError, ImportError) as error:
        message = (
            f"{source} has no tokenizer on this machine ({one_line(error)}). Name a folder with "
            "one by --tokenizer."
        )
        raise DataError(message) from error
    known = range(len(tokenizer))
    return Vocabulary({one: _text(tokenizer, one) for one in token_ids if one in known})


def _text(tokenizer: Any, token_id: int) -> str:  # noqa: ANN401  (one of many classes)
    text: str = tokenizer.decode([token_id])
    # Part of a character has no text of its own.
    if not text or REPLACEMENT in text:
        text = tokenizer.convert_ids_to_tokens(token_id) or ""
    return text
