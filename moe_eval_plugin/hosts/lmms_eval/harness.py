"""lmms-eval as a ``Harness``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.lmms_eval import names
from moe_eval_plugin.hosts.lmms_eval.command import (
    PINNABLE,
    PROGRAM,
    RunSettings,
    pinned_model_args,
    settings_of,
)
from moe_eval_plugin.hosts.lmms_eval.host_options import REFUSED, check_gen_kwargs
from moe_eval_plugin.hosts.shared.arguments import join_arguments
from moe_eval_plugin.option_values import argument_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moe_eval_plugin.hosts.lmms_eval.in_process import Host
    from moe_eval_plugin.hosts.shared.host_run import HostRun
    from moe_eval_plugin.results.run import Run


class LmmsEval:
    """lmms-eval, which asks chat models with conversations."""

    name = "lmms-eval"
    program: tuple[str, ...] = (PROGRAM,)
    module: tuple[str, ...] = ("lmms_eval",)
    all_tasks = "lmms-eval tasks list"
    pinnable: tuple[str, ...] = PINNABLE
    shares_on_cpus = True

    @staticmethod
    def check_model(name: str) -> None:
        """Raise ``InvalidArgumentError`` for a model that lmms-eval does not have."""
        names.check_model(name)

    @staticmethod
    def check_options(run: HostRun) -> None:
        """Raise ``InvalidArgumentError`` for generation arguments that have no effect, and others.

        Few-shot examples and the chat template are options of lm-eval.
        """
        check_gen_kwargs(run.gen_kwargs)
        if run.apply_chat_template:
            message = (
                "--apply-chat-template is not possible with lmms-eval: "
                f"{REFUSED['apply_chat_template']}. Leave it out."
            )
            raise InvalidArgumentError(message)

    @staticmethod
    def check_tasks(names_of_tasks: Iterable[str], include_path: str | None) -> None:
        """Raise ``InvalidArgumentError`` for a name that no definition of a task contains."""
        names.check_tasks(names_of_tasks, include_path)

    @staticmethod
    def declared_tasks() -> list[str]:
        """Return the names of all tasks, groups and tags in the files of lmms-eval and plugins."""
        return names.declared_names()

    @staticmethod
    def replaces(task: str, _: str | None) -> bool:
        """Whether lmms-eval itself may have a task of this name, which it prefers."""
        return names.is_of_the_host(task)

    @staticmethod
    def argument_names(model_args: str) -> set[str]:
        """Return the names in the arguments of a model."""
        return argument_names(model_args)

    @staticmethod
    def join_texts(texts: Iterable[str]) -> str:
        """Return the arguments of a model of several texts as one."""
        return ",".join(text for text in texts if text)

    @staticmethod
    def write_arguments(arguments: Mapping[str, Any]) -> str:
        """Return the text of arguments whose values are texts."""
        return ",".join(f"{name}={value}" for name, value in arguments.items())

    @staticmethod
    def pinned_model_args(model: str, model_args: str, commit: str | None) -> str:
        """Return the arguments of a model with the commit of its checkpoint."""
        return pinned_model_args(model, model_args, commit)

    @staticmethod
    def read_arguments(
        model_args: str, of_the_host: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Read the arguments of a model as text, and the options of the host that are the model's.

        Raises ``InvalidArgumentError``.
        """
        return join_arguments(model_args, of_the_host)

    @staticmethod
    def run_settings(run: HostRun) -> RunSettings:
        """Return the options of a run with logged samples; the seed is an argument of the model."""
        own = "" if run.seed is None else f"seed={run.seed}"
        model_args = ",".join(text for text in (run.model_args, own) if text)
        return RunSettings(
            **{**vars(run), "model_args": model_args, "seed": None}, log_samples=True
        )

    @staticmethod
    def settings_of(run: Run, *, log_samples: bool = True) -> RunSettings:
        """Return the options that a results file of lmms-eval records."""
        return settings_of(run, log_samples=log_samples)

    @staticmethod
    def load_tasks(run: HostRun) -> Host:
        """Import lmms-eval, and load the tasks of a run with their data."""
        from moe_eval_plugin.hosts.lmms_eval.in_process import Host

        return Host(run)
