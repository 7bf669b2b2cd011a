"""lm-eval as a ``Harness``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.lm_eval import names
from moe_eval_plugin.hosts.lm_eval.arguments import join_texts, read_arguments, write_arguments
from moe_eval_plugin.hosts.lm_eval.command import (
    PINNABLE,
    PROGRAM,
    RunSettings,
    pinned_model_args,
    settings_of,
)
from moe_eval_plugin.option_values import repeated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moe_eval_plugin.hosts.lm_eval.running_command.in_process import Host
    from moe_eval_plugin.hosts.shared.host_run import HostRun
    from moe_eval_plugin.results.run import Run


class LmEval:
    """lm-eval, through the command that registers our models with it."""

    name = "lm-eval"
    program: tuple[str, ...] = PROGRAM
    module: tuple[str, ...] = ("moe_eval_plugin.lm_eval", "run")
    all_tasks = "moe-eval lm-eval ls tasks"
    pinnable: tuple[str, ...] = PINNABLE
    shares_on_cpus = False  # each process answers all of them

    @staticmethod
    def check_model(name: str) -> None:
        """Raise ``InvalidArgumentError`` for a model that lm-eval does not have."""
        names.check_model(name)

    @staticmethod
    def check_options(run: HostRun) -> None:
        """Raise ``InvalidArgumentError`` for generation arguments that lm-eval cannot read."""
        read_arguments(run.gen_kwargs or "")

    @staticmethod
    def check_tasks(names_of_tasks: Iterable[str], include_path: str | None) -> None:
        """Raise ``InvalidArgumentError`` for a name that no definition of a task contains."""
        names.check_tasks(names_of_tasks, include_path)

    @staticmethod
    def declared_tasks() -> list[str]:
        """Return the names of all tasks, groups and tags in the files of lm-eval and plugins."""
        return names.declared_names()

    @staticmethod
    def replaces(task: str, include_path: str | None) -> bool:
        """Whether a folder of the user may have a task of this name, which lm-eval prefers."""
        return names.is_included(task, include_path)

    @staticmethod
    def argument_names(model_args: str) -> set[str]:
        """Return the names in the arguments of a model."""
        return set(read_arguments(model_args))

    @staticmethod
    def join_texts(texts: Iterable[str]) -> str:
        """Return the arguments of a model of several texts as one."""
        return join_texts(texts)

    @staticmethod
    def write_arguments(arguments: Mapping[str, Any]) -> str:
        """Return a text that lm-eval reads as these arguments."""
        return write_arguments(arguments)

    @staticmethod
    def pinned_model_args(model: str, model_args: str, commit: str | None) -> str:
        """Return the arguments of a model with the commit of its checkpoint."""
        return pinned_model_args(model, model_args, commit)

    @staticmethod
    def read_arguments(
        model_args: str, of_the_host: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Read the arguments of a model as lm-eval does, and its options that are the model's.

        Raises ``InvalidArgumentError``, also for an option that is given in both.
        """
        given = read_arguments(model_args)
        options = {name: one for name, one in (of_the_host or {}).items() if one is not None}
        for name in given.keys() & options.keys():
            raise repeated(
                name, (f"--{name} {options[name]}", f"--model_args {name}={given[name]}")
            )
        return {**given, **options}

    @staticmethod
    def run_settings(run: HostRun) -> RunSettings:
        """Return the options of a run with logged samples; one seed is that of all generators."""
        seed = None if run.seed is None else str(run.seed)
        return RunSettings(**{**vars(run), "seed": seed}, log_samples=True)

    @staticmethod
    def settings_of(run: Run, *, log_samples: bool = True) -> RunSettings:
        """Return the options that a results file of lm-eval records."""
        return settings_of(run, log_samples=log_samples)

    @staticmethod
    def load_tasks(run: HostRun) -> Host:
        """Import lm-eval, and load the tasks of a run with their data."""
        from moe_eval_plugin.hosts.lm_eval.running_command.in_process import Host

        return Host(run)
