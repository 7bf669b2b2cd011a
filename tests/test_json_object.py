"""JSON objects are read by key and type; a fault names the file and the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.json_object import JsonObject

if TYPE_CHECKING:
    from collections.abc import Callable

STORED = {
    "text": "a",
    "integer": 3,
    "number": 0.5,
    "item": {"k": 4},
    "items": [{"k": 4}, {"k": "x"}],
    "null": None,
}
DATA = JsonObject(STORED, "a_results.json", "moe_eval.a")


def test_values_are_read_by_their_types() -> None:
    assert (DATA.text("text"), DATA.integer("integer"), DATA.number("number")) == ("a", 3, 0.5)
    assert DATA.need_item("item").need_integer("k") == 4
    assert [one.values for one in DATA.items("items")] == STORED["items"]
    assert (DATA.number("integer"), DATA.choice("text", ("a", "b"))) == (3, "a")


@pytest.mark.parametrize("key", ["null", "absent"])
def test_what_is_not_there_is_none_unless_it_is_needed(key: str) -> None:
    assert (DATA.text(key), DATA.integer(key), DATA.number(key), DATA.item(key)) == (None,) * 4
    assert (DATA.mapping(key), DATA.items(key), DATA.choice(key, ("a",))) == ({}, [], None)
    for need in (DATA.need_text, DATA.need_integer, DATA.need_number, DATA.need_item):
        with pytest.raises(DataError, match=rf"^a_results\.json: moe_eval\.a\.{key} is None"):
            need(key)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (JsonObject.text, 3),
        (JsonObject.integer, 0.5),
        (JsonObject.integer, True),
        (JsonObject.number, "3"),
        (JsonObject.number, False),
        (JsonObject.mapping, []),
        (JsonObject.item, "x"),
        (JsonObject.items, {}),
        (JsonObject.items, [3]),
    ],
)
def test_another_type_is_a_fault_with_file_and_key(
    read: Callable[[JsonObject, str], Any], value: object
) -> None:
    with pytest.raises(DataError, match=r"^file\.json: part\.key is .* was expected"):
        read(JsonObject({"key": value}, "file.json", "part"), "key")


def test_a_fault_inside_an_array_names_its_element() -> None:
    with pytest.raises(DataError, match=r"moe_eval\.a\.items\[1\]\.k is 'x', where a whole number"):
        DATA.items("items")[1].integer("k")


def test_another_value_than_those_allowed_is_a_fault_that_lists_them() -> None:
    with pytest.raises(DataError, match="text is 'a', where one of b, c was expected"):
        DATA.choice("text", ("b", "c"))
