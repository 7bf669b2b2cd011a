"""Everything that a plugin needs comes from one light import."""

from __future__ import annotations

import ast
import subprocess
import sys
import typing
from pathlib import Path
from types import SimpleNamespace

from moe_eval_plugin import plugins
from moe_eval_plugin.plugins import family, hookspecs

EXAMPLE = Path(__file__).parents[1] / "plugin_package" / "src" / "moe_eval_example"
IMPORT_THE_FACE = "import sys, moe_eval_plugin.plugins; print(*sys.modules)"
NAMES = {**vars(family), **vars(typing), **vars(plugins), "Path": Path, "Tensor": object}
NAMES["nn"] = SimpleNamespace(Module=object)
TOO_HEAVY = {"torch", "transformers", "numpy", "PIL", "lmms_eval", "datasets"}


def our_types(hint: object) -> set[type]:
    """List the classes of this project in a type hint, and in the fields of those classes."""
    if isinstance(hint, type) and hint.__module__.startswith("moe_eval_plugin"):
        is_event_or_entry = hint.__module__.startswith(plugins.__name__)
        return {hint}.union(*map(our_types, hints_of(hint) if is_event_or_entry else ()))
    parts = hint if isinstance(hint, list) else typing.get_args(hint)
    return set().union(*map(our_types, parts))


def hints_of(something: object) -> list[object]:
    return list(typing.get_type_hints(something, globalns=NAMES).values())


def test_every_type_in_the_signature_of_a_hook_is_exported() -> None:
    hooks = [hook for name, hook in vars(hookspecs).items() if name.startswith("moe_eval_")]
    found = {one.__name__ for hook in hooks for hint in hints_of(hook) for one in our_types(hint)}
    assert found == set(plugins.__all__) - {"hookimpl", "DataError", "TaskRun"}


def test_everything_that_is_exported_exists() -> None:
    assert [name for name in plugins.__all__ if not hasattr(plugins, name)] == []


def test_the_import_is_light() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_THE_FACE], capture_output=True, text=True, check=True
    )
    assert TOO_HEAVY.isdisjoint(name.split(".")[0] for name in done.stdout.split())


def test_the_example_plugin_has_one_import_line() -> None:
    imports = [
        node
        for file in EXAMPLE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom) and "moe_eval_plugin" in ast.unparse(node)
    ]
    assert [node.module for node in imports if isinstance(node, ast.ImportFrom)] == [
        "moe_eval_plugin.plugins"
    ]
    assert len(imports) == 1
