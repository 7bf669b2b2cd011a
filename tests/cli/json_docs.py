"""Compare what ``--json`` prints with the page that documents it, by hand or from a class."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "json-output.md"
TABLE = re.compile(
    r"^\| key(?: of ([^|]+?))? \| value \|\n\|---\|---\|\n((?:\|.*\n)+)", re.MULTILINE
)
CLASS = re.compile(r"^```\{record-keys\} ([\w.]+)\.(\w+)\n:of: (.+)$", re.MULTILINE)


def documented(what: str) -> set[str]:
    """Return the keys that the page lists for a verb, or for a named object such as ``a check``."""
    text = PAGE.read_text("utf-8")
    for module, name, of in CLASS.findall(text):
        if of.removesuffix(" --json") == what:
            return {one.name for one in fields(getattr(importlib.import_module(module), name))}
    for section in text.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        for name, rows in TABLE.findall(section):
            if what in (name or title.removeprefix("`moe-eval ").removesuffix(" --json`"), name):
                return {
                    key
                    for row in rows.splitlines()
                    for key in re.findall(r"`(\w+)`", row.split("|")[1])
                }
    raise LookupError(what)


def checked_json(what: str, stdout: str) -> Any:
    """Return the only JSON value of an output, after a check of its keys; of a list, of each."""
    found = json.loads(stdout)
    for one in found if isinstance(found, list) else [found]:
        assert set(one) == documented(what)
    return found
