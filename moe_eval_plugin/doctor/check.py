"""One check, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moe_eval_plugin.text import wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_NAME = len("lmms-eval plugin")
Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """Result of one check; ``remedy`` says how to fix a fault."""

    name: str
    status: Status
    detail: str
    remedy: str | None = None


def exit_code(checks: Sequence[Check]) -> int:
    """Return 1 if a check failed, else 0."""
    return int(any(check.status == "fail" for check in checks))


def render(check: Check) -> str:
    """Return a check as text, with the fix below a fault."""
    indent = " " * (len("warn  ") + LONGEST_NAME + 2)
    first = f"{check.status:<4}  {check.name:<{LONGEST_NAME}}  "
    lines = wrap(check.detail, first=first, rest=indent)
    if check.remedy:
        lines += wrap(check.remedy, first=f"{indent}-> ", rest=f"{indent}   ")
    return "\n".join(lines)


def summary(checks: Sequence[Check]) -> str:
    """Return how many checks ended how."""
    counts = {s: sum(check.status == s for check in checks) for s in ("ok", "warn", "fail")}
    return f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failed"
