"""Read samples files of any host as they are, line by line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a samples file as they are; ``DataError`` names one that is broken.

    A file that was cut off between two lines reads like a whole one: compare the number of its
    samples with ``TaskRun.n_samples``.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield _parsed(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}. Pass the files as the host wrote them."
        raise DataError(message) from error


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    cause = "a JSON object was expected"
    try:
        sample = json.loads(line)
    except (ValueError, RecursionError) as error:
        sample, cause = None, str(error)
    if not isinstance(sample, dict):
        message = (
            f"{path}, line {number}, is not a sample: {cause}. The file may have been cut off; run "
            "the evaluation again."
        )
        raise DataError(message)
    return sample
