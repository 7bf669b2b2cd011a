"""Find keys and passwords in files that are about to be published."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The name of a secret, followed by a value: in arguments, or in JSON.
NAMED_SECRET = re.compile(
    r"\b(api[_-]?key|(?:hf_|access_|auth_|api_)?token|password|secret)"
    r"(?:\s*=\s*|\\?\"\s*:\s*\\?\")(?!true\b|false\b|none\b|null\b)[^\s,\"\\]+",
    re.IGNORECASE,
)
# The form of keys of the Hub and of hosted models.
KEY_FORM = re.compile(r"\b(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,})\b")


def raise_if_secret(name: str, text: str) -> None:
    """Raise ``DataError`` if a text holds what looks like a key; the key is not shown."""
    named, shaped = NAMED_SECRET.search(text), KEY_FORM.search(text)
    if named is None and shaped is None:
        return
    what = f"a value for {named.group(1)}" if named else "what looks like an access key"
    message = (
        f"{name} holds {what}, and a bundle is made to be published. Remove it from the file, or "
        "run again with the key in an environment variable: those are never recorded."
    )
    raise DataError(message)


def raise_if_secrets(texts: Mapping[str, str]) -> None:
    """Check several texts by their names, as ``raise_if_secret`` does."""
    for name, text in texts.items():
        raise_if_secret(name, text)
