"""Load the plugins of this package and of third parties, and collect what they register."""

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
    from moe_eval_plugin.plugins.policy_calibration import PolicyCalibration

ENTRY_POINT_GROUP = "moe_eval_plugin"


@cache
def plugin_manager() -> pluggy.PluginManager:
    """Load every installed plugin once per process.

    Raises ``PluginLoadError``, which names the distribution, for a plugin that cannot be
    imported, that has the name of another one, that implements a hook which does not exist, or
    that implements one as a wrapper.
    """
    return build_manager(entry_points(group=ENTRY_POINT_GROUP))


def build_manager(entries: Iterable[EntryPoint]) -> pluggy.PluginManager:
    """Build a manager with the plugins of these entry points; errors as in ``plugin_manager``."""
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


def task_folders(host: str = "lmms-eval") -> list[Path]:
    """List the folders of all plugins with tasks for a host, each once."""
    hook = plugin_manager().hook
    is_lm_eval = host == "lm-eval"
    named = hook.moe_eval_lm_eval_task_folders if is_lm_eval else hook.moe_eval_task_folders
    by_plugin = named()
    return list(dict.fromkeys(folder for folders in by_plugin for folder in folders))


def registered_families(manager: pluggy.PluginManager | None = None) -> dict[str, Family]:
    """Return the families of all plugins, by model type and alias.

    Without a ``manager``, the installed plugins are used. Raises ``PluginLoadError``, which names
    the plugins, if one of them fails or two register the same name.
    """
    hook = (manager or plugin_manager()).hook.moe_eval_register_families
    return _collect(hook, "model family", lambda family: (family.model_type, *family.aliases))


def registered_policies(manager: pluggy.PluginManager | None = None) -> dict[str, Policy]:
    """Return the policies of all plugins by name; errors as in ``registered_families``."""
    hook = (manager or plugin_manager()).hook.moe_eval_register_policies
    return _collect(hook, "policy", lambda policy: (policy.name,))


def registered_exporters(manager: pluggy.PluginManager | None = None) -> dict[str, Exporter]:
    """Return the exporters of all plugins by name; errors as in ``registered_families``."""
    hook = (manager or plugin_manager()).hook.moe_eval_register_exporters
    return _collect(hook, "exporter", lambda exporter: (exporter.name,))


def registered_accelerators(manager: pluggy.PluginManager | None = None) -> dict[str, Accelerator]:
    """Return the devices of all plugins by name; errors as in ``registered_families``."""
    hook = (manager or plugin_manager()).hook.moe_eval_register_accelerators
    return _collect(hook, "accelerator", lambda accelerator: accelerator.keys)


def calibrated_parameters(
    calibration: PolicyCalibration, manager: pluggy.PluginManager | None = None
) -> tuple[str, object] | None:
    """Return the plugin that calibrates a policy and what it returned; ``None`` if none does.

    Raises ``PluginLoadError``, which names the plugins, if two of them do. What a plugin raises
    passes through: it may come from the model that it measures.
    """
    hook = (manager or plugin_manager()).hook.moe_eval_calibrate_policy
    answers = []
    for implementation in hook.get_hookimpls():
        answer = implementation.function(*[calibration for _ in implementation.argnames])
        if answer is not None:
            answers.append((_plugin_text(implementation), answer))
    if len(answers) > 1:
        names = " and ".join(sorted(name for name, _ in answers))
        message = (
            f"The policy {calibration.policy} is calibrated twice: by the plugins {names}. "
            "Uninstall the one that is not wanted."
        )
        raise PluginLoadError(message)
    return answers[0] if answers else None


def _collect(
    hook: pluggy.HookCaller, what: str, names_of: Callable[[Any], tuple[str, ...]]
) -> dict[str, Any]:
    """Return what the implementations of a hook register, under each of its names."""
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for implementation in hook.get_hookimpls():
        origin = _plugin_text(implementation)
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


def _plugin_text(implementation: pluggy.HookImpl) -> str:
    plugin = implementation.plugin
    module = getattr(plugin, "__name__", type(plugin).__name__)
    return f"{implementation.plugin_name} ({module})"


def _registered_by(implementation: pluggy.HookImpl, origin: str, what: str) -> list[Any]:
    try:
        return list(cast("Iterable[Any]", implementation.function()))
    except Exception as error:
        message = (
            f"The plugin {origin} could not register a {what}: "
            f"{type(error).__name__}: {error}. Update it, or uninstall it with pip."
        )
        raise PluginLoadError(message) from error


def _register(manager: pluggy.PluginManager, entry: EntryPoint, origin: str) -> None:
    try:
        plugin = entry.load()
        manager.register(plugin, name=entry.name)
        manager.check_pending()
    except Exception as error:
        message = (
            f"The plugin {origin} could not be loaded: {type(error).__name__}: {error}. "
            "Update it, or uninstall it with pip."
        )
        raise PluginLoadError(message) from error
    for hook in manager.get_hookcallers(plugin) or ():
        _refuse_wrappers(hook, plugin, origin)


def _refuse_wrappers(hook: pluggy.HookCaller, plugin: object, origin: str) -> None:
    # A wrapper is a generator around the other implementations. Ours are called one by one, so
    # that the one that fails can be left out; there is nothing that a wrapper could be around.
    for one in hook.get_hookimpls():
        if one.plugin is plugin and (one.wrapper or one.hookwrapper):
            option = "wrapper" if one.wrapper else "hookwrapper"
            message = (
                f"The plugin {origin} implements {hook.name} with {option}=True. Hook wrappers are "
                f"not supported: use @hookimpl without {option}, or uninstall the plugin with pip."
            )
            raise PluginLoadError(message)


def _origin(entry: EntryPoint) -> str:
    distribution = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
    return f"{entry.name} ({entry.value}{distribution})"
