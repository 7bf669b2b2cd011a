"""The study file of ``moe-eval sweep``: its options in YAML, and the command line before it."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from moe_eval_plugin.commands.subcommand import CommandParser
from moe_eval_plugin.commands.sweep_options import add_options
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.files import write_files
from moe_eval_plugin.option_values import read_bool, read_new_file
from moe_eval_plugin.publish.bundle.study import (
    FLAGS,
    MAPPINGS,
    STUDY_OPTIONS,
    study_of,
    study_text,
)
from moe_eval_plugin.text import did_you_mean, one_line
from moe_eval_plugin.yaml_text import load_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SUFFIXES = (".yaml", ".yml")
# Options whose values may name files, which a study may bring along.
OF_FILES = {"experts_k", "experts_policy", "policies"}
OUTPUT = "MOE_EVAL_OUTPUT"
ARGUMENT = re.compile(r"^argument (?:-\w/)?--")


class StudyParser(CommandParser):
    """Reads the options of a study as those of a command, and raises what is wrong with them."""

    def error(self, message: str) -> NoReturn:
        """Raise ``InvalidArgumentError`` with the path of the study and the name of the option."""
        # argparse names all spellings of an option: argument -l/--limit.
        name, colon, text = ARGUMENT.sub("", message).partition(": ")
        end = "" if message.endswith((".", "?")) else "."
        whole = f"{self.prog}: {name.replace('-', '_')}{colon}{text}{end}"
        raise InvalidArgumentError(whole)


def with_study(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options of a sweep with those of its study, where it does not give them itself.

    ``command`` of the result is the command that does the same, without a study and with the long
    names of the options; ``output`` may come from the variable MOE_EVAL_OUTPUT. Raises
    ``InvalidArgumentError`` for a study that cannot be read, and for one that is not the first
    argument. Without a required option the program ends, as the parser ends it.
    """
    together = options if options.study is None else _with_study(options)
    _refuse_late_study(together.tasks or ())
    if together.output is None and os.environ.get(OUTPUT):
        together.output = Path(os.environ[OUTPUT])
    lacking = [f"--{name}" for name in ("tasks", "output") if getattr(together, name) is None]
    if lacking:
        message = f"the following arguments are required: {', '.join(lacking)}"
        CommandParser(prog="moe-eval sweep").error(message)
    together.command = ("moe-eval", "sweep", *command_arguments(together))
    return together


def _with_study(options: argparse.Namespace) -> argparse.Namespace:
    parser = StudyParser(prog=str(options.study))
    add_options(parser)
    study = read_study(options.study)
    found = parser.parse_args(_arguments(study, options.study))
    given: set[str] = getattr(options, "_given", set())
    chosen = {name: getattr(found, name) for name in study if name not in given}
    for name in OF_FILES & set(chosen):
        chosen[name] = [_beside(value, options.study.parent) for value in chosen[name]]
    return argparse.Namespace(**{**vars(options), **chosen})


def _beside(value: str, folder: Path) -> str:
    """Return ``@FILE`` with the file in the study's folder, if there is one."""
    path = folder / value.removeprefix("@")
    return f"@{path}" if value.startswith("@") and path.is_file() else value


def read_study(path: Path) -> dict[str, Any]:
    """Return the options in a study by name, all values as text.

    Raises ``InvalidArgumentError`` for a file that is no study, and for an option that a sweep or a
    study does not have.
    """
    if path.is_dir():
        message = f"{path} is a folder, and a study is a YAML file. Pass the file."
        raise InvalidArgumentError(message)
    try:
        study = load_texts(path.read_text("utf-8"))
    except FileNotFoundError as error:
        message = (
            f"No such file: {path}. Pass a study in YAML, or write one: `moe-eval sweep --tasks "
            "TASK ... --save-study study.yaml`."
        )
        raise InvalidArgumentError(message) from error
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        message = f"{path}{line} cannot be read as YAML: {error.problem or error.context}."
        raise InvalidArgumentError(message) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = f"{path} cannot be read: {one_line(error)}."
        raise InvalidArgumentError(message) from error
    if not isinstance(study, dict):
        message = f"{path} is not a study. Write `option: value` lines, e.g. `tasks: easy_vqa`."
        raise InvalidArgumentError(message)
    named = {str(name).replace("-", "_"): value for name, value in study.items()}
    for name in named:
        if name not in STUDY_OPTIONS:
            message = (
                f"{path}: {name} is not an option of a study.{did_you_mean(name, STUDY_OPTIONS)} "
                f"Known are: {', '.join(STUDY_OPTIONS)}."
            )
            raise InvalidArgumentError(message)
    return named


def command_arguments(options: argparse.Namespace) -> list[str]:
    """Return the options of a sweep that are not at their defaults, as arguments of a command."""
    parser = CommandParser()
    add_options(parser)
    arguments: list[str] = []
    for name in STUDY_OPTIONS:
        value = getattr(options, name)
        if value == parser.get_default(name):
            continue
        arguments.append(f"--{name.replace('_', '-')}")
        if value is not True:
            arguments += map(str, value if isinstance(value, list) else [value])
    return arguments


def save_study(options: argparse.Namespace) -> int:
    """Write the options of a sweep as a study to the file of ``--save-study``, a new one."""
    path: Path = options.save_study
    read_new_file("--save-study", path)
    if path.exists():
        message = f"--save-study {path} exists. Choose another name, or remove the file."
        raise InvalidArgumentError(message)
    study = study_of(["moe-eval", "sweep", *command_arguments(options)])
    write_files({path.name: study_text(study, path.name)}, path.parent)
    print(f"Saved {path}. Next: moe-eval sweep {path}")
    return 0


def _refuse_late_study(tasks: Iterable[str]) -> None:
    for task in tasks:
        if task.endswith(SUFFIXES) and Path(task).is_file():
            message = (
                f"{task} was read as a task. A study comes first: `moe-eval sweep {task} ...`."
            )
            raise InvalidArgumentError(message)


def _arguments(study: Mapping[str, Any], path: Path) -> list[str]:
    arguments: list[str] = []
    for name, value in study.items():
        option = f"--{name.replace('_', '-')}"
        if name in FLAGS:
            arguments += [option] if read_bool(f"{path}: {name}", value) else []
            continue
        texts = _texts(name, value, path)
        arguments += [f"{option}={texts[0]}"] if len(texts) == 1 else [option, *texts]
    return arguments


def _texts(name: str, value: Any, path: Path) -> Sequence[str]:  # noqa: ANN401  (from YAML)
    """Return the value of an option as texts of a command line."""
    if isinstance(value, dict) and name == "launcher_options":
        return [f"{key}={one}" for key, one in value.items()]
    items = value if isinstance(value, list) else [value]
    return [_text(name, item, path) for item in items]


def _text(name: str, value: Any, path: Path) -> str:  # noqa: ANN401  (from YAML)
    if isinstance(value, str):
        return value
    if name in MAPPINGS and isinstance(value, dict):
        inner = [one for one in value.items() if not isinstance(one[1], str)]
        if not inner:
            return ",".join(f"{key}={one}" for key, one in value.items())
        name, value = inner[0]
    form = "a list" if isinstance(value, list) else "a mapping"
    message = (
        f"{path}: {name} has {form} where it needs a text. Write nested values as JSON in quotes."
    )
    raise InvalidArgumentError(message)
