"""Check the command of lm-eval that is running, before it reads its thousands of tasks.

The host keeps the last of two equal options, and finds most mistakes once it has read its tasks and
the weights of the model. Only commands with one of our models are checked.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.lm_eval.names import ALL_TASKS, check_model, check_tasks
from moe_eval_plugin.hosts.lm_eval.registration import MODELS
from moe_eval_plugin.option_values import (
    argument_parts,
    read_float,
    read_int,
    read_new_file,
    read_new_folder,
    refusal,
    repeated,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Options that hold name=value,name=value.
WITH_NAMES = ("model_args", "gen_kwargs", "metadata")
# The host looks for cached requests by the task, the number of its examples and the template.
NOT_IN_CACHED_REQUESTS = ("gen_kwargs", "samples", "seed")


def check_command(
    arguments: Sequence[str],
    namespace: argparse.Namespace,
    config: Any,  # noqa: ANN401  (the host's dataclass)
) -> None:
    """Raise ``UserError`` where a command cannot work, or not as it is written.

    ``namespace`` are the options of the command line, ``config`` those of a file of ``--config``
    too. Of commands with a model that is not ours, only the names of model and tasks are checked.
    """
    check_model(config.model)
    _check_tasks(config)
    if config.model not in MODELS:
        return
    _refuse_repeated(arguments)
    _check_numbers(config)
    _check_output(config.output_path)
    check_cached_requests(config)
    given = {name: getattr(config, name) for name in ("batch_size", "max_batch_size")}
    device = {"device": _named_device(namespace, config)}
    resolve_name(MODELS[config.model]).check_arguments(config.model_args, {**given, **device})


def _check_tasks(config: Any) -> None:  # noqa: ANN401  (the host's dataclass)
    name, folder = "--include_path", config.include_path
    # A later release may take several folders, as the help of `lm-eval ls` says.
    parts = str(folder).split(os.pathsep)
    if folder is not None and not Path(folder).is_dir() and not all(map(os.path.isdir, parts)):
        raise refusal(name, folder, "Use a folder with task definitions")
    tasks = config.tasks.split(",") if isinstance(config.tasks, str) else config.tasks
    if not tasks:
        message = f"--tasks names no task. {ALL_TASKS}"
        raise InvalidArgumentError(message)
    if len(parts) == 1:
        # A file of --config may hold whole definitions.
        check_tasks([one for one in tasks if isinstance(one, str)], folder)


def _refuse_repeated(arguments: Sequence[str]) -> None:
    """Refuse an option that is given twice, and an argument of the model that is.

    The host joins the values of options that are lists, and keeps the last of others.
    """
    parser = run_parser()
    known = parser._option_string_actions if parser else {}  # noqa: SLF001  (argparse has no other)
    counts: Counter[str] = Counter()
    names: Counter[tuple[str, str]] = Counter()
    for option, value in _options(arguments, known):
        if value is None:
            single = isinstance(option, argparse._StoreAction | argparse._StoreTrueAction)  # noqa: SLF001
            counts[option.option_strings[0]] += single
        elif option.dest in WITH_NAMES and not value.lstrip().startswith("{"):
            # A part without a name belongs to a list in parentheses.
            parts = [part.partition("=") for part in argument_parts(value) if "=" in part]
            names.update((option.option_strings[0], name.strip()) for name, _, _ in parts)
    for name, n in counts.items():
        if n > 1:
            raise repeated(name, ())
    for (option_name, name), n in names.items():
        if n > 1:
            raise repeated(name, (), option_name)


def _options(
    arguments: Sequence[str], known: Mapping[str, argparse.Action]
) -> Iterator[tuple[argparse.Action, str | None]]:
    """Yield each option of a command without a value, and then with each of its values."""
    option: argparse.Action | None = None
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in known:
            option = known[name]
            yield option, None
            if equals:
                yield option, value
        elif option is not None:
            yield option, argument


def run_parser() -> argparse.ArgumentParser | None:
    """Return the host's parser of a run; ``None`` where this release has another one."""
    from lm_eval._cli import HarnessCLI

    verbs = getattr(HarnessCLI(), "_subparsers", None)
    found = getattr(verbs, "choices", None) or {}
    parser = found.get("run")
    return parser if isinstance(parser, argparse.ArgumentParser) else None


def _check_numbers(config: Any) -> None:  # noqa: ANN401  (the host's dataclass)
    name, limit, n_examples = "--limit", config.limit, config.num_fewshot
    if limit is not None:
        number = read_float(name, limit, above=0)
        if number >= 1 and not number.is_integer():
            allowed = "Use a whole number of questions, or a share between 0 and 1"
            raise refusal(name, limit, allowed)
    if n_examples is not None:
        read_int("--num_fewshot", n_examples, at_least=0)


def _check_output(output: str | None) -> None:
    """Refuse a path that results cannot be written to: lm-eval ignores errors while it writes."""
    if output is not None:
        is_file = Path(output).suffix == ".json"
        (read_new_file if is_file else read_new_folder)("--output_path", output)


def check_cached_requests(config: Any) -> None:  # noqa: ANN401  (the host's dataclass)
    """Raise ``InvalidArgumentError`` for cached requests that may be of other options."""
    cached = config.cache_requests or {}
    if not cached.get("cache_requests") or cached.get("rewrite_requests_cache"):
        return
    default = type(config)()
    for name in NOT_IN_CACHED_REQUESTS:
        value = getattr(config, name)
        if value != getattr(default, name):
            message = (
                f"--{name} {value} is not possible with --cache_requests: lm-eval finds cached "
                f"requests by the name of the task, so they may be those of another {name}. Write "
                "--cache_requests refresh, or leave it out."
            )
            raise InvalidArgumentError(message)


def _named_device(namespace: argparse.Namespace, config: Any) -> str | None:  # noqa: ANN401
    """Return the device that the user names; lm-eval passes ``cuda:0`` where none is."""
    if getattr(namespace, "device", None) is not None:
        return str(namespace.device)
    in_file = type(config).load_yaml_config(config.config) if config.config else {}
    device = in_file.get("device")
    return None if device is None else str(device)
