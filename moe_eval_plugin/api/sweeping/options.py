"""The options of a sweep by name, and the request that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from moe_eval_plugin.api.sweeping.request import SweepRequest
from moe_eval_plugin.hosts.harness import default_host, harness
from moe_eval_plugin.option_values import read_float, read_int, read_pairs
from moe_eval_plugin.sweeps.launchers.choose import LaunchOptions
from moe_eval_plugin.sweeps.manifest import load_manifest
from moe_eval_plugin.sweeps.plan import SweepPlan
from moe_eval_plugin.sweeps.settings.kept_files import with_kept_files
from moe_eval_plugin.sweeps.settings.points import Axes
from moe_eval_plugin.sweeps.timing.options import (
    PRECISION,
    TimingOptions,
    read_batch_sizes,
    read_budget,
    read_precision,
)
from moe_eval_plugin.sweeps.workers.batch_size import default_batch_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LOCAL = "local"


class SweepOptions(TypedDict, total=False):
    """Options of a sweep besides model, tasks, k and folder.

    Names, meanings and defaults are those of the options of ``moe-eval sweep``.
    """

    host: str | None
    """``lmms-eval``, the default if it is installed, or ``lm-eval``."""
    batch_size: int | str | None
    """Questions in a batch, or ``auto``."""
    device: str | None
    """Device, such as ``cpu`` or ``cuda``."""
    gen_kwargs: str | None
    """Generation arguments, as in the host."""
    include_path: str | Path | None
    """A folder with more tasks."""
    num_fewshot: int | None
    """Examples in each prompt."""
    apply_chat_template: bool
    """Pass prompts through the chat template, with lm-eval."""
    experts_policy: Sequence[str]
    """Policies, each combined with each k: ``NAME:NUMBER`` or ``@FILE``."""
    policies: Sequence[str]
    """Policies, each as a setting of its own at the published k."""
    renorm: Sequence[str]
    """How to scale the weights of the experts kept."""
    seeds: Sequence[int]
    """Repeat everything once for each seed."""
    speed_precision: float | str
    """The timed pass ends when the interval of each speed-up is narrower than this share."""
    speed_budget: float | str
    """The timed pass ends after this many seconds; 0 for no timed pass."""
    batch_sizes: Sequence[int | str]
    """Batch sizes to time."""
    timing_rounds: int | str
    """Rounds over the vLLM engines, which hold one k each."""
    timing_seed: int | str
    """Seed for choosing the questions to time."""
    launcher: str
    """``local``, ``ray`` or ``slurm``."""
    gpus_per_point: float
    """GPUs for each setting, with Ray and Slurm."""
    launcher_options: Sequence[str]
    """Options of the launcher, each as ``NAME=VALUE``."""
    separate: bool
    """Run each k in its own process."""
    processes_per_point: int
    """Processes that share the questions of each setting."""
    input_cache_gib: float | None
    """RAM for encoded inputs."""
    restart: bool
    """Start over if settings changed; old results are moved aside."""


def choose_host(given: str | None, folder: Path | None) -> str:
    """Return the host of a sweep: the one asked for, else that of its folder, else the default.

    ``folder`` is ``None`` where none was chosen. Raises ``InvalidArgumentError``.
    """
    if given is not None:
        return harness(given).name
    found = load_manifest(folder) if folder is not None else None
    return default_host() if found is None else found.host


def make_plan(
    model: str,
    model_args: str,
    tasks: Sequence[str],
    limit: int | None,
    options: SweepOptions,
    folder: Path | None = None,
) -> SweepPlan:
    """Return the plan of a sweep without its points; a task may be several, between commas.

    In a ``folder`` that has a sweep, its host is used unless another one is asked for.
    """
    host = choose_host(options.get("host"), folder)
    names = [name for given in tasks for name in given.split(",") if name]
    include_path = options.get("include_path")
    return SweepPlan(
        model=model,
        model_args=model_args,
        tasks=tuple(dict.fromkeys(names)),
        points=(),
        limit=limit,
        batch_size=str(options.get("batch_size") or default_batch_size(model, host)),
        device=options.get("device"),
        gen_kwargs=options.get("gen_kwargs"),
        include_path=None if include_path is None else str(include_path),
        host=host,
        num_fewshot=options.get("num_fewshot"),
        apply_chat_template=options.get("apply_chat_template", False),
    )


def make_request(
    folder: Path,
    plan: SweepPlan,
    experts_k: Sequence[str],
    options: SweepOptions,
    command: tuple[str, ...] = (),
) -> SweepRequest:
    """Return the request of a sweep; ``InvalidArgumentError`` for a value that is not possible."""
    rules = options.get("experts_policy", Axes.experts_policies)
    axes = Axes(
        schedules=with_kept_files(experts_k, folder),
        experts_policies=with_kept_files(rules, folder),
        renorms=tuple(options.get("renorm", Axes.renorms)),
        seeds=tuple(options.get("seeds", ())),
        policies=with_kept_files(options.get("policies", ()), folder),
    )
    return SweepRequest(
        folder=folder.resolve(),
        common=plan,
        axes=axes,
        launch=_launch_options(options),
        timing=_timing_options(options),
        restart=options.get("restart", False),
        command=command,
    )


def _launch_options(options: SweepOptions) -> LaunchOptions:
    cache_gib = options.get("input_cache_gib")
    if cache_gib is not None:
        read_float("--input-cache-gib", cache_gib, at_least=0)
    pairs = options.get("launcher_options", ())
    return LaunchOptions(
        launcher=options.get("launcher", LOCAL),
        gpus_per_point=options.get("gpus_per_point", 0),
        launcher_options=read_pairs("--launcher-options", pairs, "NAME=VALUE"),
        separate=options.get("separate", False),
        processes_per_point=read_int(
            "--processes-per-point", options.get("processes_per_point", 1), at_least=1
        ),
        input_cache_gib=cache_gib,
    )


def _timing_options(options: SweepOptions) -> TimingOptions:
    rounds = options.get("timing_rounds", "auto")
    return TimingOptions(
        precision=read_precision("--speed-precision", options.get("speed_precision", PRECISION)),
        budget_s=read_budget("--speed-budget", options.get("speed_budget", "auto")),
        batch_sizes=read_batch_sizes("--batch-sizes", tuple(options.get("batch_sizes", ()))),
        rounds=None if rounds == "auto" else read_int("--timing-rounds", rounds, at_least=1),
        seed=read_int("--timing-seed", options.get("timing_seed", 0), at_least=0),
    )
