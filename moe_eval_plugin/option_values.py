"""Read the values of options strictly: of arguments, command lines and environment variables alike.

A text that is not of the wanted kind is an ``InvalidArgumentError``, which names the option, the
value and the values that are allowed. Values that have the wanted type already are kept.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Reader = Callable[[str, object], Any]

TRUE_WORDS = ("true", "yes", "on", "1")
FALSE_WORDS = ("false", "no", "off", "0")
WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


def read_bool(name: str, value: object) -> bool:
    """Return a yes or no: ``true``, ``yes``, ``on``, ``1`` and their opposites, in any case."""
    word = str(value).strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise refusal(name, value, f"Use true or false ({_words(TRUE_WORDS)}; {_words(FALSE_WORDS)})")


def read_int(
    name: str, value: object, *, at_least: int | None = None, at_most: int | None = None
) -> int:
    """Return a whole number within the limits; ``4.0`` and ``1e3`` are none."""
    text = str(value).strip()
    allowed = f"Use a whole number{_limits(at_least, at_most)}"
    if isinstance(value, bool | float) or not WHOLE.fullmatch(text):
        raise refusal(name, value, allowed)
    number = int(text)
    if not _within(number, at_least, at_most):
        raise refusal(name, value, allowed)
    return number


def read_float(
    name: str,
    value: object,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
) -> float:
    """Return a finite number within the limits; ``nan`` and ``inf`` are none."""
    text = str(value).strip()
    allowed = f"Use a number{_limits(at_least, at_most, above)}"
    if isinstance(value, bool) or not DECIMAL.fullmatch(text):
        raise refusal(name, value, allowed)
    number = float(text)
    is_above = above is None or number > above
    if not (math.isfinite(number) and is_above and _within(number, at_least, at_most)):
        raise refusal(name, value, allowed)
    return number


def read_text(name: str, value: object) -> str:
    """Return a text that is not empty; a number is taken as it is written."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | os.PathLike):
        raise refusal(name, value, "Use a text")
    text = str(value)
    if not text.strip():
        raise empty(name)
    return text


def read_choice(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        message = f"{name}={value} is not known. Use one of: {', '.join(allowed)}."
        raise InvalidArgumentError(message)
    return value


def read_new_folder(name: str, value: object) -> str:
    """Return the path of a folder that exists or can be created; nothing is created.

    Refused is a path on which there is a file, and one in a folder that cannot be written to.
    """
    text = read_text(name, value)
    path = Path(text).expanduser().absolute()
    found = next(one for one in (path, *path.parents) if one.exists())
    if not found.is_dir():
        raise refusal(name, value, f"{found} is a file. Choose a folder", is_why=True)
    try:
        # Permissions alone do not say it: a disk may be mounted to be read only.
        with tempfile.TemporaryFile(dir=found):
            pass
    except OSError as error:
        why = f"{found} cannot be written to ({error.strerror}). Choose another folder"
        raise refusal(name, value, why, is_why=True) from error
    return text


def read_new_file(name: str, value: object) -> str:
    """Return the path of a file that exists or can be created; nothing is created.

    Its folder, and those above it, may be missing.
    """
    text = read_text(name, value)
    path = Path(text).expanduser().absolute()
    if path.is_dir():
        raise refusal(name, value, "it is a folder. Write the name of a file", is_why=True)
    read_new_folder(name, path.parent)
    return text


def whole(at_least: int | None = None, at_most: int | None = None) -> Reader:
    """Return the reader of whole numbers with these limits."""
    return partial(read_int, at_least=at_least, at_most=at_most)


def one_of(*allowed: str) -> Reader:
    """Return the reader of one of these words."""
    return partial(read_choice, allowed=allowed)


def read_fields(options: object, readers: Mapping[str, Reader]) -> None:
    """Replace fields of a frozen dataclass by what their readers return; ``None`` is kept.

    For its ``__post_init__``, so that no way leads around the check.
    """
    for name, read in readers.items():
        value = getattr(options, name)
        if value is not None:
            object.__setattr__(options, name, read(name, value))


def read_pairs(
    source: str, items: Iterable[str], form: str = "name=value,name=value"
) -> dict[str, str]:
    """Read ``name=value`` items; ``source`` is where they are written, ``form`` how.

    Raises ``InvalidArgumentError`` for one without a name or a value, and for a name that is
    given twice: which of its values holds would be a guess.
    """
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not name or not equals:
            message = f"{source} {item} cannot be read. Write {form}."
            raise InvalidArgumentError(message)
        if not value:
            raise empty(name, source)
        if name in found:
            raise repeated(name, (found[name], value), source)
        found[name] = value
    return found


def split_arguments(source: str, text: str) -> dict[str, str]:
    """Read ``name=value,name=value`` as lmms-eval splits it; raises what ``read_pairs`` raises."""
    return read_pairs(source, argument_parts(text))


def argument_parts(text: str) -> list[str]:
    """Split a text at its commas, but those within quotes, braces and brackets."""
    parts, depth, quote, before = [""], 0, "", ""
    for character in text:
        if character in "\"'" and before != "\\":
            quote = "" if character == quote else quote or character
        elif not quote:
            depth += (character in "{[") - (character in "}]")
        if character == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
        before = character
    return [part.strip() for part in parts if part.strip()]


def argument_names(text: str) -> set[str]:
    """Return the names in ``name=value,name=value``."""
    return {part.partition("=")[0].strip() for part in argument_parts(text)}


def read_json(name: str, text: str) -> Any:  # noqa: ANN401  (whatever the text says)
    """Read JSON; ``InvalidArgumentError`` for text that is none, and for a key given twice."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            keys = [key for key, _ in items]
            raise repeated(next(key for key in keys if keys.count(key) > 1), (), name)
        return found

    try:
        return json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        message = f"{name}={text} cannot be read as JSON: {error}."
        raise InvalidArgumentError(message) from error


def variable(name: str, read: Reader) -> Any:  # noqa: ANN401  (what the reader returns)
    """Read an environment variable; ``None`` where it is not set, or set to an empty text.

    An empty variable is how a shell takes one back for a command (``NAME= command``).
    """
    value = os.environ.get(name, "").strip()
    return read(name, value) if value else None


def refusal(
    name: str, value: object, allowed: str, *, is_why: bool = False
) -> InvalidArgumentError:
    """Return the error for a value that an option cannot have."""
    if value == "":
        return empty(name)
    separator = ": " if is_why else ". "
    return InvalidArgumentError(f"{name}={value} is not possible{separator}{allowed}.")


def empty(name: str, source: str = "") -> InvalidArgumentError:
    """Return the error for an option without a value."""
    where = f" in {source}" if source else ""
    return InvalidArgumentError(
        f"{name} has no value{where}. Write one, or leave {name} out for its default."
    )


def repeated(name: str, values: Iterable[object], source: str = "") -> InvalidArgumentError:
    """Return the error for an option that is given more than once."""
    where = f" in {source}" if source else ""
    shown = " and ".join(map(str, values))
    what = f" ({shown})" if shown else ""
    return InvalidArgumentError(f"{name} is given more than once{where}{what}. Give it once.")


def _within(number: float, at_least: float | None, at_most: float | None) -> bool:
    return (at_least is None or number >= at_least) and (at_most is None or number <= at_most)


def _limits(at_least: float | None, at_most: float | None, above: float | None = None) -> str:
    low = "" if at_least is None else f" from {at_least}"
    low = low if above is None else f" above {above}"
    return low if at_most is None else f"{low} to {at_most}"


def _words(words: Sequence[str]) -> str:
    return ", ".join(words)
