"""Checks of plugins of other packages."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.programs import start

if TYPE_CHECKING:
    from pathlib import Path

HOOKED = """\
from moe_eval_plugin import plugins

@plugins.hookimpl
def {hook}():
    return [plugins.Exporter("{name}", "nothing", lambda runs, task: plugins.Exported({{}}))]
"""
SHOW = """
from moe_eval_plugin.doctor.plugins import check_plugins

for one in check_plugins():
    print(one.status, one.detail)
"""


def checks_with(folder: Path, *plugins: str) -> list[str]:
    """Return what the doctor finds in a process that has these plugins."""
    info = folder / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    names = [f"other_{number}" for number, _ in enumerate(plugins)]
    for name, text in zip(names, plugins, strict=True):
        (folder / f"{name}.py").write_text(text)
    lines = "\n".join(["[moe_eval_plugin]", *(f"{name} = {name}" for name in names)])
    (info / "entry_points.txt").write_text(lines)
    run = start(sys.executable, "-c", SHOW, PYTHONPATH=folder)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_this_package_alone_is_not_listed(tmp_path: Path) -> None:
    assert checks_with(tmp_path) == []


def test_each_plugin_of_others_is_listed_with_its_hooks(tmp_path: Path) -> None:
    hooked = HOOKED.format(hook="moe_eval_register_exporters", name="mine")
    assert checks_with(tmp_path, hooked, "") == [
        "ok other_0 of others 1.0: moe_eval_register_exporters",
        "ok other_1 of others 1.0: no hooks",
    ]


@pytest.mark.parametrize(
    ("hook", "name", "fault"),
    [
        ("moe_eval_register_exporter", "mine", "unknown hook 'moe_eval_register_exporter'"),
        ("moe_eval_register_exporters", "csv", "The exporter csv is registered twice"),
    ],
)
def test_a_plugin_that_fails_is_a_fault(tmp_path: Path, hook: str, name: str, fault: str) -> None:
    (shown,) = checks_with(tmp_path, HOOKED.format(hook=hook, name=name))
    assert shown.startswith("fail The ")
    assert fault in shown
