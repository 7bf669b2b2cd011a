"""Write a report: the page and its tables at once, then the charts as files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.files import write_all
from moe_eval_plugin.report.page.fill import GENERATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


def folder_of(page: Path) -> Path:
    """Return the folder with the charts and tables of a page."""
    return page.with_name(f"{page.stem}_files")


def write_report(
    report: Report, path: Path, advance: Callable[[], None] = lambda: None
) -> list[Path]:
    """Write a page and its tables, and then its charts as files; return all paths, the page first.

    The page and the tables are written all or none. Drawing the charts takes longer than that, and
    the page does without their files: ``advance`` is called after each. Raises ``DataError`` if
    something cannot be written.
    """
    from moe_eval_plugin.report.charts.files import drawn

    folder = folder_of(path)
    # The page comes last: where it is, its tables are too.
    content = {folder / name: data for name, data in report.tables.items()}
    content[path] = report.html.encode()
    with _writing(path):
        write_all(content, path.parent)
        paths = list(reversed(content))
        for figure in report.figures:
            files = {folder / name: data for name, data in drawn(figure)}
            write_all(files, path.parent)
            paths += files
            advance()
    return paths


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{path} cannot be written: {error}. Pass another file with --output."
        raise DataError(message) from error


def _is_report(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return f'<meta name="generator" content="{GENERATOR}">' in file.read(HEAD_CHARACTERS)
    except (OSError, UnicodeDecodeError):
        return False
