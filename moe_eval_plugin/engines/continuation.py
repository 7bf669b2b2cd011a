"""Tokenise a text that is to be scored after a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Tokens of the prompt that decide how the text after them is tokenised.
CONTEXT_TOKENS = 8


def continuation_ids(tokenizer: Any, prompt_ids: Sequence[int], text: str) -> list[int]:  # noqa: ANN401  (one of many classes)
    """Return the tokens of a text as they follow the tokens of a prompt.

    Alone, a text begins a document for the tokenizer, and many put a space before it. So the end of
    the prompt is tokenised with and without the text, and what the text adds are its tokens. The
    tokenizer adds no special tokens. Where both would join to one token, the text counts alone.
    """

    def ids_of(one: str) -> list[int]:
        ids: list[int] = tokenizer(one, add_special_tokens=False)["input_ids"]
        return ids

    context = tokenizer.decode(
        list(prompt_ids[-CONTEXT_TOKENS:]),
        skip_special_tokens=False,
        clean_up_tokenization_spaces=False,
    )
    before, both = ids_of(context), ids_of(context + text)
    return both[len(before) :] if both[: len(before)] == before else ids_of(text)
