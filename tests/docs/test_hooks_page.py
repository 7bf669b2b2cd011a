"""The reference of plugins lists every hook and every type that a plugin uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moe_eval_plugin import plugins
from moe_eval_plugin.plugins import hookspecs

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "plugins.md").read_text("utf-8")
HOOKS = [name for name in vars(hookspecs) if name.startswith("moe_eval_")]
ROW = re.compile(r"^\| \[`(\w+)`\]\(#[\w.]+\.(\w+)\) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
RETURNED = re.compile(r"\[(\w+)\]$")


def test_the_table_has_every_hook_with_what_it_returns() -> None:
    rows = ROW.findall(PAGE)
    assert [name for name, _, _ in rows] == HOOKS
    for name, anchor, returned in rows:
        assert anchor == name
        annotation = vars(hookspecs)[name].__annotations__["return"]
        found = RETURNED.search(annotation)
        wanted = f"`{found[1]}`" if found else {"None": "nothing"}.get(annotation, "numbers")
        assert wanted in returned


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_described_once_with_an_example(hook: str) -> None:
    assert PAGE.count(f".. autofunction:: {hook}\n") == 1
    text = vars(hookspecs)[hook].__doc__
    assert "Example" in text
    assert f"def {hook}(" in text


def test_every_type_is_described() -> None:
    described = re.findall(r"^\.\. auto(?:class|exception):: (\w+)(?:\(\))?$", PAGE, re.MULTILINE)
    assert set(described) == set(plugins.__all__) - {"hookimpl"}
