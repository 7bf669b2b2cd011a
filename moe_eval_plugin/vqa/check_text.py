"""Write the report on official files as text or as JSON data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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
    wanted = [f"  {name}: {files.describe()}" for name, files in OFFICIAL_FILES.items()]
    found = f"No official file was found in {folder} or up to two folders below it. Expected:"
    return "\n".join([found, *wanted])


def _lines(report: SplitReport) -> list[str]:
    if not report.is_there:
        return [f"{report.name}: not found"]
    counts = f"{_number(report.n_questions)} questions, {_number(report.n_images)} images"
    answers = f", answers {' and '.join(report.answer_sets)}" if report.answer_sets else ""
    state = "complete"
    if report.answer.findings:
        state = f"errors: {report.count('error')}, warnings: {report.count('warning')}"
    lines = [f"{report.name}: {state} ({counts}{answers})"]
    return lines + [line for finding in report.answer.findings for line in _finding(finding)]


def _finding(finding: Finding) -> list[str]:
    lines = [f"  {finding.kind}: {finding.what}"]
    if finding.first:
        first = ", ".join(str(example) for example in finding.first)
        more = ", ..." if finding.count > len(finding.first) else ""
        lines.append(f"    {finding.count:,} (first: {first}{more})")
    if finding.remedy:
        lines.append(f"    -> {finding.remedy}")
    return lines


def _number(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
