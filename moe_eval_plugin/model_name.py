"""Classify the value of ``pretrained``: the demo model, a folder, or an id on the Hub."""

from __future__ import annotations

import os
import re

DEMO = "demo"
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def is_folder(name: str) -> bool:
    """Whether a resolved name is a local folder; otherwise it is an id on the Hub."""
    return os.path.isdir(name)  # noqa: PTH112  (no error for a name that no folder can have)


def hub_id(name: str) -> str | None:
    """Return a name that has the form of an id on the Hub and is no local folder, or ``None``."""
    is_id = name.count("/") == 1 and HUB_ID.fullmatch(name) and not name.startswith(".")
    return name if is_id and not is_folder(name) else None
