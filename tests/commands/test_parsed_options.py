"""Commands read the parsed options, and never write into them."""

from __future__ import annotations

import ast
from pathlib import Path

from moe_eval_plugin import commands

FOLDER = Path(commands.__file__).parent


def written(source: str) -> list[str]:
    """List the attributes of ``options`` that some source assigns or sets."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"setattr", "delattr"}:
            found.append(ast.unparse(node.args[0]))
    return [name for name in found if name.split(".")[0] == "options"]


def test_no_command_writes_into_its_options() -> None:
    found = {path.name: written(path.read_text()) for path in FOLDER.glob("*.py")}
    assert len(found) > 10
    assert {name: names for name, names in found.items() if names} == {}
    assert written("options.device = options.device or 'cpu'\nsetattr(options, 'a', 1)") == [
        "options.device",
        "options",
    ]
