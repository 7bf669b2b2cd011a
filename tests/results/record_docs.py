"""Compare the provenance of real records with the page that documents it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "results.md"


def undocumented(provenance: Mapping[str, Any]) -> set[str]:
    """Return the keys that the page does not list."""
    return set(provenance) - set(re.findall(r"`provenance\.(\w+)`", PAGE.read_text("utf-8")))
