"""An example of a plugin: a folder with one task, found by lmms-eval like a built-in one."""

from pathlib import Path

from moe_eval_plugin.hookspecs import hookimpl


@hookimpl
def moe_eval_task_folders() -> list[Path]:
    """Name the folder that holds our task."""
    return [Path(__file__).parent / "tasks"]
