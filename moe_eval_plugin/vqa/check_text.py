"""Write the report on official files as text or as JSON data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.text import wrap
from moe_eval_plugin.vqa.check import exit_code
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moe_eval_plugin.vqa.check import SplitReport
    from moe_eval_plugin.vqa.check_faults import Finding


def to_dict(folder: Path, reports: Sequence[SplitReport]) -> dict[str, Any]:
    """Return the reports as plain JSON data."""
    return {
        "folder": str(folder),
        "ok": exit_code(reports) == 0,
        "splits": [asdict(report) for report in reports],
    }


def render(folder: Path, reports: Sequence[SplitReport]) -> str:
    """Return the reports as text, with the fix below each finding."""
    if any(report.is_there for report in reports):
        return "\n".join(line for report in reports for line in _lines(report))
    found = f"No official file was found in {folder} or up to two folders below it. Expected:"
    wanted = [
        line
        for name, files in OFFICIAL_FILES.items()
        for line in wrap(f"{name}: {files.describe()}", first="  ", rest="    ")
    ]
    return "\n".join([*wrap(found), *wanted])


def _lines(report: SplitReport) -> list[str]:
    if not report.is_there:
        return [f"{report.name}: not found"]
    counts = f"{_number(report.n_questions)} questions, {_number(report.n_images)} images"
    answers = f", answers {' and '.join(report.answer_sets)}" if report.answer_sets else ""
    state = "complete"
    if report.findings:
        state = f"errors: {report.count('error')}, warnings: {report.count('warning')}"
    lines = wrap(f"{report.name}: {state} ({counts}{answers})", rest="  ")
    return lines + [line for finding in report.findings for line in _finding(finding)]


def _finding(finding: Finding) -> list[str]:
    lines = wrap(f"{finding.kind}: {finding.what}", first="  ", rest="    ")
    if finding.first:
        first = ", ".join(str(example) for example in finding.first)
        more = ", ..." if finding.count > len(finding.first) else ""
        lines += wrap(f"{finding.count:,} (first: {first}{more})", first="    ", rest="    ")
    if finding.remedy:
        lines += wrap(finding.remedy, first="    -> ", rest="       ")
    return lines


def _number(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
