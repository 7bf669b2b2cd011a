"""Register the exporters of this package: one module for each family of formats.

This package is a plugin like any other. Its modules are imported when formats are listed or used,
because the plugin manager imports this one in every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moe_eval_plugin.plugins.exporter import Exporter


@hookimpl
def moe_eval_register_exporters() -> Iterable[Exporter]:
    """List the exporters of this package."""
    from moe_eval_plugin.publish.exports.every_eval_ever import EXPORTERS as EVERY_EVAL_EVER
    from moe_eval_plugin.publish.exports.hub import EXPORTERS as HUB
    from moe_eval_plugin.publish.exports.paper import EXPORTERS as PAPER
    from moe_eval_plugin.publish.exports.submission import EXPORTERS as SUBMISSIONS
    from moe_eval_plugin.publish.exports.tables import EXPORTERS as TABLES
    from moe_eval_plugin.publish.exports.trackers import EXPORTERS as TRACKERS

    return [*SUBMISSIONS, *HUB, *EVERY_EVAL_EVER, *TABLES, *PAPER, *TRACKERS]
