"""Render which tools can run a setting as a table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.text import fit, wrap

if TYPE_CHECKING:
    from moe_eval_plugin.publish.deployment.exports import Exports


def render_tools(found: Exports) -> str:
    """Return a row for each tool: whether it can run the setting, and what it takes."""
    rows = [
        ("tool", "can run it", "what it takes, or why not"),
        *((one.tool, "yes" if one.is_able else "no", one.how) for one in found.tools),
    ]
    names = {one.tool.removesuffix(" alone"): one.version for one in found.tools}
    versions = [f"{name} {version}" for name, version in names.items() if " with " not in name]
    note = (
        f"Checked on {found.checked}: {', '.join(versions)}. transformers and vLLM were run; for "
        "the others the source was read."
    )
    return "\n".join([*fit(rows, "l"), *wrap(note)])
