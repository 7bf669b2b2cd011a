"""Looks for keys and passwords in what is about to be published."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

# A name that stands for a secret, and a value behind it: in arguments, or in JSON.
NAMED = re.compile(
    r"\b(api[_-]?key|(?:hf_|access_|auth_|api_)?token|password|secret)"
    r"(?:\s*=\s*|\\?\"\s*:\s*\\?\")(?!true\b|false\b|none\b|null\b)[^\s,\"\\]+",
    re.IGNORECASE,
)
# What keys of the hub and of hosted models look like.
SHAPED = re.compile(r"\b(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,})\b")


def raise_if_secret(name: str, text: str) -> None:
    """Raise ``DataError`` where a text holds what looks like a key; the key is not shown."""
    named, shaped = NAMED.search(text), SHAPED.search(text)
    if named is None and shaped is None:
        return
    what = f"a value for {named.group(1)}" if named else "what looks like an access key"
    message = (
        f"{name} holds {what}, and a bundle is made to be published. Take it out of the file, or "
        "run again with the key in an environment variable: those are never recorded."
    )
    raise DataError(message)


def raise_if_secrets(texts: Mapping[str, str]) -> None:
    """Look through texts by their names, as ``raise_if_secret`` does."""
    for name, text in texts.items():
        raise_if_secret(name, text)
