"""Build the launcher that ``--launcher`` names."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import MissingDependencyError
from moe_eval_plugin.sweep.launchers.launcher import Launcher, LocalLauncher, Options

if TYPE_CHECKING:
    from pathlib import Path


def make_launcher(name: str, gpus_per_point: float, folder: Path, options: Options) -> Launcher:
    """Make the launcher of that name; ``MissingDependencyError`` where its package is absent.

    ``options`` are the launcher's own, by name.
    """
    if name == "local":
        return LocalLauncher()
    if find_spec({"slurm": "submitit"}.get(name, name)) is None:
        message = (
            f"--launcher {name} needs a package that is not installed. Install it: "
            f'pip install "moe-eval-plugin[{name}]".'
        )
        raise MissingDependencyError(message)
    if name == "ray":
        from moe_eval_plugin.sweep.launchers.ray import RayLauncher

        return RayLauncher(gpus_per_point, options)
    from moe_eval_plugin.sweep.launchers.slurm import SlurmLauncher

    return SlurmLauncher(gpus_per_point, folder, options)
