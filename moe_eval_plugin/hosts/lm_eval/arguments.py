"""Read and write ``name=value,name=value`` as lm-eval's command does: ``--model_args`` and others.

lm-eval reads numbers, true, false and Python literals as such, and also takes a JSON object. It
reads back what is written here as the same values.
"""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import argument_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Within these, lm-eval's command reads commas in its own way.
NEED_JSON = re.compile(r"[\[\](){}'\"\\]")
WORDS = {"true": True, "false": False}


def read_arguments(text: str) -> dict[str, Any]:
    """Read the arguments in a text; ``InvalidArgumentError`` for a part that is no ``name=value``.

    As in lm-eval, the last of several values of one name holds.
    """
    if _is_object(text):
        return _read_object(text)
    return dict(_read_part(part, text) for part in argument_parts(text))


def write_arguments(arguments: Mapping[str, Any]) -> str:
    """Return a text that lm-eval reads as these arguments: a JSON object where it has to be one."""
    text = ",".join(f"{name}={value}" for name, value in arguments.items())
    is_plain = not NEED_JSON.search(text) and _reads_as(text, arguments)
    return text if is_plain else json.dumps(dict(arguments), ensure_ascii=False)


def join_texts(texts: Iterable[str]) -> str:
    """Return the arguments of several texts as one; of one name, the last value holds."""
    given = [text for text in texts if text]
    if len(given) == 1 or not any(map(_is_object, given)):
        return ",".join(given)
    return write_arguments(
        {name: value for one in given for name, value in read_arguments(one).items()}
    )


def _is_object(text: str) -> bool:
    return text.lstrip().startswith("{")


def _read_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"{text} cannot be read as JSON: {error}. Write name=value,name=value."
        raise InvalidArgumentError(message) from error
    return dict(found)


def _read_part(part: str, text: str) -> tuple[str, Any]:
    name, equals, value = part.partition("=")
    # lm-eval takes these for whole numbers, and cannot read them as such.
    is_no_number = value.isnumeric() and not value.isdecimal()
    if not equals or is_no_number:
        message = f"{part} in {text} cannot be read. Write name=value,name=value."
        raise InvalidArgumentError(message)
    return name, _read_value(value)


def _read_value(text: str) -> Any:  # noqa: ANN401  (a number, a text, a list ...)
    """Return the value that lm-eval reads: a word, a number, a literal, or else the text."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if text.isnumeric():
        return int(text)
    for read in (float, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text


def _reads_as(text: str, arguments: Mapping[str, Any]) -> bool:
    try:
        return read_arguments(text) == dict(arguments)
    except InvalidArgumentError:
        return False
