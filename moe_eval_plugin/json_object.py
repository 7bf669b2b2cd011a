"""Read JSON objects by key and type; a wrong type is a ``DataError`` with its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from moe_eval_plugin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    T = TypeVar("T")


@dataclass(frozen=True)
class JsonObject:
    """A JSON object, and where it was read: a file, and the key of the object within it.

    Each method returns the value under a key, or ``None`` where it is absent or null; those of
    several values return an empty one. The methods that begin with ``need_`` raise ``DataError``
    then. All raise ``DataError`` for a value of another type. Keys that nobody reads are ignored.
    """

    values: Mapping[str, Any]
    source: str = "the record"
    path: str = ""

    def text(self, key: str) -> str | None:
        """Return a string."""
        value = self.values.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(key, "a string")

    def choice(self, key: str, allowed: tuple[T, ...]) -> T | None:
        """Return one of the allowed values."""
        value = self.values.get(key)
        if value is None:
            return None
        for one in allowed:
            if one == value:
                return one
        raise self._wrong(key, f"one of {', '.join(map(str, allowed))}")

    def integer(self, key: str) -> int | None:
        """Return a whole number."""
        value = self.values.get(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self._wrong(key, "a whole number")

    def number(self, key: str) -> float | None:
        """Return a number, whole or not."""
        value = self.values.get(key)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise self._wrong(key, "a number")

    def flag(self, key: str) -> bool:
        """Return true or false; false where it is absent or null."""
        value = self.values.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self._wrong(key, "true or false")

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object as a plain dictionary; an empty one where it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        raise self._wrong(key, "an object")

    def item(self, key: str) -> JsonObject | None:
        """Return an object."""
        if self.values.get(key) is None:
            return None
        return JsonObject(self.mapping(key), self.source, self._name(key))

    def items(self, key: str) -> list[JsonObject]:
        """List the objects of an array; none where it is absent or null."""
        found = self._array(key, dict, "an array of objects")
        name = self._name(key)
        return [JsonObject(one, self.source, f"{name}[{n}]") for n, one in enumerate(found)]

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the strings of an array; none where it is absent or null."""
        return tuple(self._array(key, str, "an array of strings"))

    def integers(self, key: str) -> tuple[int, ...]:
        """Return the whole numbers of an array; none where it is absent or null."""
        return tuple(self._array(key, int, "an array of whole numbers"))

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return the numbers of an array, whole or not; none where it is absent or null."""
        found = self._array(key, object, expected := "an array of numbers")
        numbers = [one for one in found if isinstance(one, int | float)]
        if len(numbers) < len(found):
            raise self._wrong(key, expected)
        return tuple(numbers)

    def need_text(self, key: str) -> str:
        """Return a string that has to be there."""
        return self._needed(key, self.text(key))

    def need_integer(self, key: str) -> int:
        """Return a whole number that has to be there."""
        return self._needed(key, self.integer(key))

    def need_number(self, key: str) -> float:
        """Return a number that has to be there."""
        return self._needed(key, self.number(key))

    def need_item(self, key: str) -> JsonObject:
        """Return an object that has to be there."""
        return self._needed(key, self.item(key))

    def _array(self, key: str, type_: type[T], expected: str) -> list[T]:
        found = [] if self.values.get(key) is None else self.values[key]
        if isinstance(found, list | tuple) and all(isinstance(one, type_) for one in found):
            return list(found)
        raise self._wrong(key, expected)

    def _needed(self, key: str, value: T | None) -> T:
        if value is None:
            raise self._wrong(key, "a value")
        return value

    def _name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _wrong(self, key: str, expected: str) -> DataError:
        value = self.values.get(key)
        return DataError(
            f"{self.source}: {self._name(key)} is {value!r:.80}, where {expected} was expected. "
            "Use the file as it was written, or run the task again."
        )
