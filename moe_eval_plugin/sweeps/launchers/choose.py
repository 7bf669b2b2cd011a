"""Choose where the points of a sweep run, and what runs them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.sweeps.launchers.launcher import Launcher, LocalLauncher
from moe_eval_plugin.sweeps.workers.child_process import ChildProcessWorker
from moe_eval_plugin.sweeps.workers.in_process import InProcessWorker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.sweeps.launchers.launcher import Worker
    from moe_eval_plugin.sweeps.plan import SweepPlan
    from moe_eval_plugin.sweeps.planning import CheckedPlan
    from moe_eval_plugin.sweeps.workers.progress import Progress

PACKAGES = {"ray": "ray", "slurm": "submitit"}


@dataclass(frozen=True)
class LaunchOptions:
    """Options of launchers and workers; raises ``InvalidArgumentError`` for impossible numbers."""

    launcher: str = "local"
    """``local``, ``ray`` or ``slurm``."""
    gpus_per_point: float = 0
    """GPUs that each point reserves on Ray or Slurm."""
    launcher_options: Mapping[str, str] = field(default_factory=dict)
    """Options of ``ray.init`` or of submitit's executor, by name."""
    separate: bool = False
    """Whether each point runs in a process of its own where one process could run all."""
    processes_per_point: int = 1
    """Processes of accelerate that share the questions of a point."""
    input_cache_gib: float | None = None
    """RAM for encoded inputs in GiB; ``None`` takes a share of what is free."""

    def __post_init__(self) -> None:
        if self.processes_per_point < 1:
            message = (
                f"--processes-per-point {self.processes_per_point} is not possible. Use 1 or more."
            )
            raise InvalidArgumentError(message)
        if self.input_cache_gib is not None and self.input_cache_gib < 0:
            message = f"--input-cache-gib {self.input_cache_gib} is not possible. Use 0 or more."
            raise InvalidArgumentError(message)

    def is_resident(self, plan: SweepPlan) -> bool:
        """Whether one process keeps the model of a plan in memory for all points."""
        alone = self.separate or self.processes_per_point > 1
        return self.launcher == "local" and plan.changes_k_live and not alone


@contextmanager
def launching(
    options: LaunchOptions,
    checked: CheckedPlan,
    host: LoadedTasks,
    folder: Path,
    settings: Mapping[str, Any],
    progress: Progress,
) -> Iterator[tuple[Launcher, Worker]]:
    """Yield the launcher of a sweep's points and the worker that runs each of them.

    A model that stays in memory is freed when the block ends. ``progress`` gets the steps
    of such a model; other workers never call it. Raises ``MissingDependencyError`` for a launcher
    whose package is absent.
    """
    plan = checked.plan
    if options.is_resident(plan):
        cache_gib = options.input_cache_gib
        with InProcessWorker(checked, host, folder, settings, cache_gib, progress) as worker:
            yield LocalLauncher(), worker
    else:
        launcher = make_launcher(options, folder)
        yield launcher, ChildProcessWorker(plan, folder, options.processes_per_point)


def check_launcher(name: str) -> None:
    """Raise ``MissingDependencyError`` for a launcher whose package is absent."""
    if name in PACKAGES and find_spec(PACKAGES[name]) is None:
        message = (
            f"--launcher {name} needs a package that is not installed. Install it: "
            f'pip install "moe-eval-plugin[{name}]".'
        )
        raise MissingDependencyError(message)


def make_launcher(options: LaunchOptions, folder: Path) -> Launcher:
    """Build the launcher that the options name; Slurm's logs go into ``folder``.

    Raises ``MissingDependencyError`` where its package is absent.
    """
    name = options.launcher
    if name == "local":
        return LocalLauncher()
    check_launcher(name)
    if name == "ray":
        from moe_eval_plugin.sweeps.launchers.ray import RayLauncher

        return RayLauncher(options.gpus_per_point, options.launcher_options)
    from moe_eval_plugin.sweeps.launchers.slurm import SlurmLauncher

    return SlurmLauncher(options.gpus_per_point, folder, options.launcher_options)
