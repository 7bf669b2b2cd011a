"""Checks of the plugins that other packages add to this one."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from moe_eval_plugin.doctor.check import Check
from moe_eval_plugin.errors import PluginLoadError

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN_MODULES = "moe_eval_plugin."


def check_plugins() -> Iterator[Check]:
    """Load all plugins and what they register; one check for each plugin of another package."""
    from moe_eval_plugin.plugins import manager

    points = metadata.entry_points(group=manager.ENTRY_POINT_GROUP)
    others = [one for one in points if not one.module.startswith(OWN_MODULES)]
    if not others:
        return
    try:
        found = manager.plugin_manager()
        manager.registered_families()
        manager.registered_policies()
        manager.registered_exporters()
        manager.registered_accelerators()
    except PluginLoadError as error:
        yield Check("plugins", "fail", str(error))
        return
    for one in others:
        callers = found.get_hookcallers(found.get_plugin(one.name)) or []
        hooks = ", ".join(sorted(caller.name for caller in callers)) or "no hooks"
        origin = f" of {one.dist.name} {one.dist.version}" if one.dist else ""
        yield Check("plugin", "ok", f"{one.name}{origin}: {hooks}")
