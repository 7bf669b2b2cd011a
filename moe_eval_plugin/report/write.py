"""Write a report: the page, and a folder with its charts and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.files import write_all
from moe_eval_plugin.report.page.fill import GENERATOR

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.build import Report

SUFFIX = ".html"
HEAD_CHARACTERS = 2000


def check_output(path: Path, *, force: bool = False) -> None:
    """Raise ``InvalidArgumentError`` unless a report can be written to a path.

    The path must end in ``.html``; an existing report is replaced, another file is not.
    """
    if path.suffix != SUFFIX:
        message = f"--output {path} does not end in {SUFFIX}. Pass a name such as report.html."
        raise InvalidArgumentError(message)
    if path.exists() and not force and not _is_report(path):
        message = (
            f"{path} exists, and moe-eval did not write it. Add --force to overwrite it, or pass "
            "another file with --output."
        )
        raise InvalidArgumentError(message)


def write_report(report: Report, path: Path) -> list[Path]:
    """Write the page and its files, and return their paths, the page first.

    Either all files are written or none. Raises ``DataError`` if they cannot be written.
    """
    folder = path.with_name(f"{path.stem}_files")
    content = {path: report.html.encode()}
    content |= {folder / name: data for name, data in report.files.items()}
    try:
        # The page comes last: where it is, the rest is too.
        write_all(dict(reversed(content.items())), path.parent)
    except OSError as error:
        message = f"{path} cannot be written: {error}. Pass another file with --output."
        raise DataError(message) from error
    return list(content)


def _is_report(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return f'<meta name="generator" content="{GENERATOR}">' in file.read(HEAD_CHARACTERS)
    except (OSError, UnicodeDecodeError):
        return False
