"""Broken variants of valid input: JSON values that were changed, and bytes that were damaged."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import strategies as st

from moe_eval_plugin.errors import MoEEvalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    T = TypeVar("T")

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["", "nan", "1e999", "\x00", "../x", "/etc/passwd", "=1+1", "@x", "\ud800", -1, 0]
    )
)
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
LONGEST_MESSAGE = 4000
REMOVE, REPLACE, RENAME, REPEAT = "remove", "replace", "rename", "repeat"


@st.composite
def changed_json(draw: st.DrawFn, document: Any) -> Any:
    """Return a copy of a JSON document with one to three of its values changed."""
    document = deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from([REMOVE, REPLACE, REPLACE, RENAME, REPEAT]))
        if change == REMOVE:
            del holder[key]
        elif change == RENAME and isinstance(holder, dict):
            holder[draw(st.text(max_size=5))] = holder.pop(key)
        elif change == REPEAT and isinstance(holder, list):
            holder.append(deepcopy(holder[key]))
        else:
            holder[key] = draw(ANY_JSON)
    return document


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Return a copy of some bytes, with one to four pieces cut, changed, repeated or inserted."""
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = draw(st.integers(begin, min(len(data), begin + 64)))
        piece = draw(st.sampled_from([b"", data[begin:end] * 2, None]))
        data = (
            data[:begin] + (draw(st.binary(max_size=16)) if piece is None else piece) + data[end:]
        )
        if draw(st.booleans()):
            data = data[: draw(st.integers(0, len(data)))]
    return data


def as_json(document: object) -> bytes:
    """Return a JSON document as a file has it; text that is not Unicode is escaped."""
    return json.dumps(document).encode()


class Readers:
    """Calls readers, and keeps the messages of those that refuse what they read.

    Any other exception than one of ours is a finding, and is raised.
    """

    def __init__(self) -> None:
        self.refusals: list[str] = []

    def call(self, reader: Callable[..., T], *arguments: Any) -> T | None:
        """Return what a reader returns; ``None`` where it refuses."""
        try:
            return reader(*arguments)
        except MoEEvalError as error:
            self.refusals.append(str(error))
            return None

    @property
    def unreadable(self) -> list[str]:
        """The messages that are empty, or as long as a file."""
        return [text for text in self.refusals if not 0 < len(text.strip()) < LONGEST_MESSAGE]


def _places(document: object) -> Iterator[tuple[Any, Any]]:
    """Yield each object or array of a document with each of its keys."""
    keys: Sequence[Any] = ()
    if isinstance(document, dict):
        keys = list(document)
    elif isinstance(document, list):
        keys = range(len(document))
    for key in keys:
        yield document, key
        yield from _places(document[key])  # type: ignore[index]  (it is one of the two)
