"""Fill in the page of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.report.page.frame import PageFiles, filled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.charts.base import Figure

PACKAGE = "moe_eval_plugin.report.page"
# Both are put into the page in this order.
SCRIPTS = (
    "read",
    "address",
    "tables",
    "viewer",
    "questions",
    "charts",
    "copy",
    "answer",
    "page",
)
STYLES = (
    "base",
    "answer",
    "charts",
    "tables",
    "questions",
    "copy",
    "print",
    "first_sheet",
)
GENERATOR = "moe-eval report"
REPORT = PageFiles((PACKAGE,), "report.html", STYLES, SCRIPTS, GENERATOR)


def page_text(*, figures: Sequence[Figure], **parts: Any) -> str:  # noqa: ANN401
    """Return the page of a report."""
    screen = parts["screen"]
    head = {"description": screen.description, "facts": screen.facts}
    return filled(REPORT, figures, **head, **parts)
