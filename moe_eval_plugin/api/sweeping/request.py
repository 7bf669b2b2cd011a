"""The request of a sweep over one model, and what can be refused before anything heavy loads."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.harness import harness
from moe_eval_plugin.option_values import read_float, read_int, read_new_folder
from moe_eval_plugin.sweeps import early_checks
from moe_eval_plugin.sweeps.launchers.choose import LaunchOptions
from moe_eval_plugin.sweeps.settings.points import Axes
from moe_eval_plugin.sweeps.timing.options import TimingOptions

if TYPE_CHECKING:
    from moe_eval_plugin.sweeps.early_checks import EarlyPlan
    from moe_eval_plugin.sweeps.plan import SweepPlan


@dataclass(frozen=True)
class SweepRequest:
    """Everything that one sweep over one model needs to know."""

    folder: Path
    """Folder for results, logs and the data that an interrupted sweep continues from."""
    common: SweepPlan
    """The plan without its points: the model, the tasks and how questions are answered."""
    axes: Axes = field(default_factory=Axes)
    """The values of k, rules and seeds to combine."""
    launch: LaunchOptions = field(default_factory=LaunchOptions)
    """Where the points run, and in which processes."""
    timing: TimingOptions = field(default_factory=TimingOptions)
    """When the timed pass ends, and what it times."""
    restart: bool = False
    """Whether results of other settings are moved aside."""
    dry_run: bool = False
    """Whether nothing is run, so that nothing needs to be installed for it."""
    command: tuple[str, ...] = ()
    """The command that repeats the sweep; empty for none."""


def check_early(request: SweepRequest) -> EarlyPlan:
    """Check a request in about a second; return its plan with points as far as they are known.

    Raises ``UserError`` for a sweep that cannot run. What passes may still be refused later.
    """
    _refuse_several_processes()
    _check_values(request)
    intent = early_checks.Intent(request.launch.launcher, request.dry_run, request.restart)
    return early_checks.check_early(request.common, request.axes, request.folder, intent)


def _refuse_several_processes() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        message = (
            "A sweep is one process, but it was started as one of several. Start it once; "
            "--processes-per-point N shares the questions of each setting among N processes."
        )
        raise InvalidArgumentError(message)


def _check_values(request: SweepRequest) -> None:
    """Raise ``InvalidArgumentError`` for values that no model and no machine can take."""
    read_new_folder("--output", request.folder)
    include_path = request.common.include_path
    if include_path is not None and not Path(include_path).is_dir():
        message = f"--include-path {include_path} is not a folder. Name one with tasks."
        raise InvalidArgumentError(message)
    if not any(name.strip() for name in request.common.tasks):
        message = f"--tasks names no task. All tasks: `{harness(request.common.host).all_tasks}`."
        raise InvalidArgumentError(message)
    read_float("--gpus-per-point", request.launch.gpus_per_point, at_least=0)
    for seed in request.axes.seeds:
        read_int("--seeds", seed, at_least=0)
