"""Return the exporter of a format: the form of another tool, or of a leaderboard.

The formats of this package are registered through ``moe_eval_register_exporters``, the hook that
plugins use. An exporter only returns the text of files; ``files.write_files`` writes them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.text import did_you_mean, labelled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moe_eval_plugin.plugins.exporter import Exporter
    from moe_eval_plugin.results.run import Run


def find_exporter(name: str) -> Exporter:
    """Return a registered exporter; ``InvalidArgumentError`` lists those that exist."""
    from moe_eval_plugin.plugins.manager import registered_exporters

    known = registered_exporters()
    if name not in known:
        message = (
            f"No format is called {name}.{did_you_mean(name, known)} Use one of: "
            f"{', '.join(sorted(known))}. `moe-eval export --format` describes each of them."
        )
        raise InvalidArgumentError(message)
    return known[name]


def render_formats() -> str:
    """Return a line for each registered exporter, with its summary, for a terminal."""
    from moe_eval_plugin.plugins.manager import registered_exporters

    known = registered_exporters()
    return "\n".join(labelled((name, known[name].summary) for name in sorted(known)))


def common_folder(runs: Iterable[Run]) -> Path:
    """Return the folder of a results file, or the deepest one that holds those of all runs."""
    return Path(os.path.commonpath([run.path.resolve().parent for run in runs]))
