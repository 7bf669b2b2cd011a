"""Exporters: a finished run in the file format of another tool or of a leaderboard.

The formats of this package come in through ``moe_eval_register_exporters``, the hook that plugins
use. An exporter only makes the text of files; they are written here, all of them or none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moe_eval_plugin.plugins.exporter import Exporter
    from moe_eval_plugin.results.run import Run


def find_exporter(name: str) -> Exporter:
    """Find a registered exporter; ``InvalidArgumentError`` names those that exist."""
    from moe_eval_plugin.plugins.manager import registered_exporters

    known = registered_exporters()
    if name not in known:
        message = (
            f"--format {name} is not known. Use one of: {', '.join(sorted(known))}. "
            "`moe-eval export --format` says what each of them is."
        )
        raise InvalidArgumentError(message)
    return known[name]


def render_formats() -> str:
    """List every registered exporter with its summary, for a terminal."""
    from moe_eval_plugin.plugins.manager import registered_exporters

    known = registered_exporters()
    width = max(map(len, known), default=0)
    return "\n".join(f"{name.ljust(width)}  {known[name].summary}" for name in sorted(known))


def common_folder(runs: Iterable[Run]) -> Path:
    """Return the folder of a results file, or the deepest one that holds those of all runs."""
    return Path(os.path.commonpath([run.path.resolve().parent for run in runs]))
