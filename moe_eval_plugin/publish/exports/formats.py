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


def common_folder(paths: Iterable[Path]) -> Path:
    """Return the folder that was named, that of a file, or the deepest one that holds them all."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    return Path(os.path.commonpath([folder.resolve() for folder in folders]))
