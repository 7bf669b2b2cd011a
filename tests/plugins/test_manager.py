"""Plugins are loaded by entry point, and a faulty one is an error that names it."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import PluginLoadError
from moe_eval_plugin.plugins import Family, hookimpl, hookspecs
from moe_eval_plugin.plugins.manager import (
    ENTRY_POINT_GROUP,
    build_manager,
    registered_families,
    task_folders,
)
from moe_eval_plugin.tasks import tasks_path

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("third_party_plugin")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def entry(name: str = "third", value: str = "third_party_plugin") -> EntryPoint:
    return EntryPoint(name, value, ENTRY_POINT_GROUP)


def test_our_own_tasks_come_in_by_the_hook() -> None:
    assert tasks_path() in task_folders()
    assert tasks_path("lm-eval") in task_folders("lm-eval")
    assert not set(task_folders()) & set(task_folders("lm-eval"))


def test_a_third_party_adds_a_folder(third_party: ModuleType) -> None:
    third_party.moe_eval_task_folders = hookimpl(lambda: [Path("there")])  # type: ignore[attr-defined]
    assert build_manager([entry()]).hook.moe_eval_task_folders() == [[Path("there")]]


def test_a_plugin_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(PluginLoadError, match=r"third \(no_such_module\) could not be loaded"):
        build_manager([entry(value="no_such_module")])


def test_a_misspelt_hook_is_an_error(third_party: ModuleType) -> None:
    @hookimpl
    def moe_eval_task_folder() -> list[Path]:
        return []

    third_party.moe_eval_task_folder = moe_eval_task_folder  # type: ignore[attr-defined]
    with pytest.raises(PluginLoadError, match="moe_eval_task_folder"):
        build_manager([entry()])


HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("moe_eval_"))


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_wrapper_of_any_hook_is_refused_and_named(
    third_party: ModuleType, hook: str, option: str
) -> None:
    def wrapper() -> Iterator[None]:
        yield

    setattr(third_party, hook, hookimpl(**{option: True})(wrapper))  # type: ignore[call-overload]
    with pytest.raises(PluginLoadError) as caught:
        build_manager([entry()])
    assert str(caught.value) == (
        f"The plugin third (third_party_plugin) implements {hook} with {option}=True. Hook wrappers"
        f" are not supported: use @hookimpl without {option}, or uninstall the plugin with pip."
    )


def test_two_plugins_of_one_name_are_both_named(third_party: ModuleType) -> None:
    assert third_party
    with pytest.raises(PluginLoadError, match=r"third_party_plugin\) and third \(sys\)"):
        build_manager([entry(), entry(value="sys")])


def test_our_own_families_come_in_by_the_hook() -> None:
    own = build_manager([entry("families", "moe_eval_plugin.models.families")])
    assert registered_families(own)["qwen3_moe"].model_type == "qwen3_moe"
    assert registered_families(build_manager([])) == {}


def test_a_third_party_adds_a_family_with_all_its_names(third_party: ModuleType) -> None:
    family = Family(model_type="picky", aliases=("picky_old",))
    third_party.moe_eval_register_families = hookimpl(lambda: [family])  # type: ignore[attr-defined]
    assert registered_families(build_manager([entry()])) == {"picky": family, "picky_old": family}


@pytest.mark.parametrize(
    "family", [Family(model_type="mixtral"), Family(model_type="new", aliases=("step3p5",))]
)
def test_a_family_is_not_silently_replaced(third_party: ModuleType, family: Family) -> None:
    third_party.moe_eval_register_families = hookimpl(lambda: [family])  # type: ignore[attr-defined]
    manager = build_manager([entry("families", "moe_eval_plugin.models.families"), entry()])
    with pytest.raises(PluginLoadError, match="registered twice") as caught:
        registered_families(manager)
    assert "families (moe_eval_plugin.models.families)" in str(caught.value)
    assert "third (third_party_plugin)" in str(caught.value)


def test_a_plugin_whose_families_fail_is_named(third_party: ModuleType) -> None:
    third_party.moe_eval_register_families = hookimpl(lambda: [1 // 0])  # type: ignore[attr-defined]
    with pytest.raises(PluginLoadError, match=r"third \(third_party_plugin\) could not register"):
        registered_families(build_manager([entry()]))
