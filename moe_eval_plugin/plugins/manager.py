"""Builds the plugin manager: our own parts and third parties' come in by the same door."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

import pluggy

from moe_eval_plugin.errors import PluginLoadError
from moe_eval_plugin.plugins import hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from moe_eval_plugin.plugins.accelerator import Accelerator
    from moe_eval_plugin.plugins.exporter import Exporter
    from moe_eval_plugin.plugins.family import Family
    from moe_eval_plugin.plugins.policy import Policy

ENTRY_POINT_GROUP = "moe_eval_plugin"


@cache
def plugin_manager() -> pluggy.PluginManager:
    """Load every installed plugin once per process.

    Raises ``PluginLoadError``, which names the distribution, for a plugin that cannot be
    imported, that has the name of another one, or that implements a hook which does not exist.
    """
    return build_manager(entry_points(group=ENTRY_POINT_GROUP))


def build_manager(entries: Iterable[EntryPoint]) -> pluggy.PluginManager:
    """Build a manager from some entry points; ``plugin_manager`` does it for the installed ones."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    origins: dict[str, str] = {}
    for entry in entries:
        origin = _origin(entry)
        if entry.name in origins:
            message = (
                f"Two plugins are called {entry.name}: {origins[entry.name]} and {origin}. "
                "Uninstall one of the two."
            )
            raise PluginLoadError(message)
        origins[entry.name] = origin
        _register(manager, entry, origin)
    return manager


def task_folders() -> list[Path]:
    """List the task folders of all plugins, each once."""
    named = plugin_manager().hook.moe_eval_task_folders()
    return list(dict.fromkeys(folder for folders in named for folder in folders))


def registered_families(manager: pluggy.PluginManager | None = None) -> dict[str, Family]:
    """Collect the families of all plugins, by model type and by each further name of theirs.

    ``manager`` is the one of the installed plugins unless it is given. Raises ``PluginLoadError``,
    which names the plugins, if one of them fails or two register the same name.
    """
    hook = (manager or plugin_manager()).hook.moe_eval_register_families
    return _collect(hook, "model family", lambda family: (family.model_type, *family.aliases))


def registered_policies(manager: pluggy.PluginManager | None = None) -> dict[str, Policy]:
    """Collect the policies of all plugins by name; errors are those of ``registered_families``."""
    hook = (manager or plugin_manager()).hook.moe_eval_register_policies
    return _collect(hook, "policy", lambda policy: (policy.name,))


def registered_exporters(manager: pluggy.PluginManager | None = None) -> dict[str, Exporter]:
    """Collect the exporters of all plugins by name; errors are those of ``registered_families``."""
    hook = (manager or plugin_manager()).hook.moe_eval_register_exporters
    return _collect(hook, "exporter", lambda exporter: (exporter.name,))


def registered_accelerators(manager: pluggy.PluginManager | None = None) -> dict[str, Accelerator]:
    """Collect the devices of all plugins by name; errors are those of ``registered_families``."""
    hook = (manager or plugin_manager()).hook.moe_eval_register_accelerators
    return _collect(hook, "accelerator", lambda accelerator: accelerator.keys)


def _collect(
    hook: pluggy.HookCaller, what: str, names_of: Callable[[Any], tuple[str, ...]]
) -> dict[str, Any]:
    """Collect what the implementations of a hook register, under each of its names."""
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for implementation in hook.get_hookimpls():
        plugin = implementation.plugin
        module = getattr(plugin, "__name__", type(plugin).__name__)
        origin = f"{implementation.plugin_name} ({module})"
        for item in _registered_by(implementation, origin, what):
            for name in names_of(item):
                if name in found:
                    message = (
                        f"The {what} {name} is registered twice: by the plugins "
                        f"{origins[name]} and {origin}. Uninstall the one that is not wanted."
                    )
                    raise PluginLoadError(message)
                found[name], origins[name] = item, origin
    return found


def _registered_by(implementation: pluggy.HookImpl, origin: str, what: str) -> list[Any]:
    try:
        return list(cast("Iterable[Any]", implementation.function()))
    except Exception as error:
        message = (
            f"The plugin {origin} could not register what it has of kind {what}: "
            f"{type(error).__name__}: {error}. Update it, or uninstall it with pip."
        )
        raise PluginLoadError(message) from error


def _register(manager: pluggy.PluginManager, entry: EntryPoint, origin: str) -> None:
    try:
        manager.register(entry.load(), name=entry.name)
        manager.check_pending()
    except Exception as error:
        message = (
            f"The plugin {origin} could not be loaded: {type(error).__name__}: {error}. "
            "Update it, or uninstall it with pip."
        )
        raise PluginLoadError(message) from error


def _origin(entry: EntryPoint) -> str:
    distribution = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
    return f"{entry.name} ({entry.value}{distribution})"
