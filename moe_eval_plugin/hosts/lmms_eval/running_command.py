"""Check the command of lmms-eval that is running, before it reads its thousands of tasks.

The host keeps the last of two equal options, does not check a file of ``--config``, and ends with
0 after most errors.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import sys
from collections import Counter
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import yaml

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.lmms_eval.host_options import (
    check_fewshot,
    check_gen_kwargs,
    check_options,
)
from moe_eval_plugin.hosts.lmms_eval.names import unknown_task
from moe_eval_plugin.hosts.replacement import replaced
from moe_eval_plugin.option_values import repeated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMAND = "cli_evaluate_single"
# Names that list tasks instead of running them.
LISTS = ("list", "list_groups", "list_tags", "list_subtasks")
# Options that an argparse parser sets at most this often when they are not repeated: its default,
# and one value.
N_SETS = 2


def running_options() -> argparse.Namespace | None:
    """Return the options of the host's command that is running, if one is.

    The host passes them to no function that we could wrap before it reads its tasks, so they are
    read from the frame of its command.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != COMMAND:
        frame = frame.f_back
    found = frame.f_locals.get("args") if frame is not None else None
    return found if isinstance(found, argparse.Namespace) else None


def check_command(
    options: argparse.Namespace | None, models: Mapping[str, str]
) -> argparse.Namespace | None:
    """Return the options of a command that runs one of our models, checked before anything loads.

    ``models`` are the classes of our models by name. Raises ``InvalidArgumentError``.
    """
    if options is None or options.model not in models or options.tasks in LISTS:
        return None
    if not options.tasks:
        message = "--tasks names no task. All tasks: `lmms-eval tasks list`."
        raise InvalidArgumentError(message)
    parser = host_parser()
    _refuse_repeated(sys.argv[1:], parser)
    if options.config:
        _refuse_repeated_keys(Path(options.config))
    check_options(options, parser)
    model = resolve_name(models[options.model])
    model.check_settings(check_gen_kwargs(options.gen_kwargs))
    given = {name: getattr(options, name) for name in ("batch_size", "max_batch_size", "device")}
    model.check_arguments(options.model_args, given, options.system_instruction)
    fail_without_results(models)
    return options


def check_tasks(options: argparse.Namespace, index: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse names that lmms-eval does not have, and few-shot examples that it does not use.

    ``index`` are its tasks by name. Raises ``InvalidArgumentError``.
    """
    from lmms_eval.utils import load_yaml_config

    if Path(options.tasks).is_dir():
        return
    for name in options.tasks.split(","):
        found = index.get(name)
        if found is None and "*" not in name and not Path(name).is_file():
            raise InvalidArgumentError(unknown_task(name, list(index)))
        path = (found or {}).get("yaml_path")
        if options.num_fewshot and isinstance(path, str):
            task = load_yaml_config(path, mode="simple")
            # A group has no output of its own; its tasks are checked when they are known.
            if isinstance(task.get("task"), str):
                output_type = task.get("output_type", "generate_until")
                check_fewshot(name, output_type, options.num_fewshot)


def fail_without_results(models: Mapping[str, str]) -> None:
    """End the host's process with a non-zero code where a run of ours leaves no results."""
    from lmms_eval import evaluator
    from lmms_eval.loggers import EvaluationTracker

    run, save = evaluator.simple_evaluate, EvaluationTracker.save_results_aggregated
    if hasattr(run, "_moe_eval_checked"):
        return

    @functools.wraps(run)
    def simple_evaluate(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (the host's)
        if kwargs.get("model") not in models:
            return run(*args, **kwargs)
        with user_errors():
            return run(*args, **kwargs)

    @functools.wraps(save)
    def save_results_aggregated(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        save(self, *args, **kwargs)
        if self.output_path and self.general_config_tracker.model_source in models:
            with user_errors():
                _raise_if_not_saved(self)

    simple_evaluate._moe_eval_checked = True  # type: ignore[attr-defined]  # noqa: SLF001
    evaluator.simple_evaluate = simple_evaluate
    EvaluationTracker.save_results_aggregated = save_results_aggregated


def host_parser() -> argparse.ArgumentParser:
    """Return the parser of lmms-eval's command."""
    import lmms_eval.__main__ as command

    with replaced(sys, "argv", ["lmms-eval"]):
        parser: argparse.ArgumentParser = command.parse_eval_args()[0]
    return parser


class _Counted(argparse.Namespace):
    """Counts how often a parser sets each option."""

    def __init__(self) -> None:
        super().__setattr__("counts", Counter[str]())

    def __setattr__(self, name: str, value: object) -> None:
        self.counts[name] += 1
        super().__setattr__(name, value)


def _refuse_repeated(arguments: Sequence[str], parser: argparse.ArgumentParser) -> None:
    given = _Counted()
    try:
        parser.parse_known_args(arguments, given)
    except SystemExit:
        # Not the host's command: a program has arguments of its own.
        return
    for name, n in given.counts.items():
        if n > N_SETS:
            option = f"--{name}"
            raise repeated(option, ())


def _refuse_repeated_keys(path: Path) -> None:
    for node in _mappings(yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)):
        keys = Counter(str(key.value) for key, _ in node.value)
        for key, n in keys.items():
            if n > 1:
                raise repeated(key, (), str(path))


def _mappings(node: yaml.Node | None) -> list[yaml.MappingNode]:
    if isinstance(node, yaml.SequenceNode):
        return [found for one in node.value for found in _mappings(one)]
    if not isinstance(node, yaml.MappingNode):
        return []
    return [node, *(found for _, value in node.value for found in _mappings(value))]


def _raise_if_not_saved(tracker: Any) -> None:  # noqa: ANN401  (the host's)
    folder = Path(tracker.output_path, tracker.general_config_tracker.model_name_sanitized)
    name = f"{getattr(tracker, 'date_id', '')}_results.json"
    if not (folder / name).is_file():
        message = (
            f"The results could not be written to {folder}. Check that there is space, and that "
            "the folder can be written to; with --verbosity DEBUG lmms-eval shows the error."
        )
        raise DataError(message)
