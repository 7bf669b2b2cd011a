"""Every option of lmms-eval's command: used with our models, or refused before anything runs.

What an option names stands in the results, so one that has no effect is refused. The two lists
below hold all options of the host's parser.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from moe_eval_plugin.engines.generation import ARGUMENTS, KNOWN, read_settings
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import (
    empty,
    read_float,
    read_int,
    read_new_folder,
    read_text,
    refusal,
    split_arguments,
)
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from moe_eval_plugin.engines.generation import GenerationSettings
    from moe_eval_plugin.option_values import Reader

# Who uses an option: its names in the parser.
_USERS = {
    "the model": "model_args batch_size max_batch_size device system_instruction",
    "the engine, for each question": "gen_kwargs seed",
    "lmms-eval, to choose what is asked": "config model tasks include_path limit offset repeats",
    "lmms-eval, to score the answers": (
        "process_with_media process_docs_parallel reasoning_tags launcher_args agentic_trace_mode "
        "predict_only baseline"
    ),
    "lmms-eval, to write and to print": (
        "output_path log_samples log_samples_suffix show_config write_out verbosity timezone "
        "hf_hub_log_args wandb_args wandb_log_samples swanlab_args swanlab_log_samples"
    ),
    "lmms-eval, to keep answers": "use_cache",
    "lmms-eval, in tasks that score continuations; refused in others": "num_fewshot",
    "lmms-eval, instead of an evaluation": (
        "help tui power_analysis effect_size alpha power correlation std_a std_b"
    ),
}
USED = {name: user for user, names in _USERS.items() for name in names.split()}
# Name in the parser: why it has no effect.
REFUSED = {
    "apply_chat_template": "the chat template of the checkpoint is always applied",
    "fewshot_as_multiturn": "conversations hold no few-shot examples of lmms-eval",
    "cache_requests": (
        "lmms-eval finds the cached questions by the name of the task alone, so they may be those "
        "of other data"
    ),
    "check_integrity": "the tests that it runs are not part of an installed lmms-eval",
    "force_simple": "these models have one form, the chat form",
    "max_tokens": "lmms-eval counts the tokens of models behind an API only",
    "trust_remote_code": (
        "lmms-eval does not use it. For the code of a checkpoint write trust_remote_code=true in "
        "--model_args"
    ),
}
N_SEEDS = 4
# lmms-eval makes a number of the first task's share, and takes that for the others.
SHARE_OF_ONE = "lmms-eval applies a share to one task only. Use a number of questions"
GEN_KWARGS: Mapping[str, Reader] = {
    **ARGUMENTS,
    "top_p": lambda name, value: read_float(name, value, above=0, at_most=1),
}


def check_options(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Raise ``InvalidArgumentError`` for options that lmms-eval cannot use with our models.

    ``options`` are those of a command, or of a file of ``--config``, whose values lmms-eval does
    not check.
    """
    for action in parser._actions:  # noqa: SLF001  (argparse has no other list)
        value = getattr(options, action.dest, action.default)
        if value == action.default or value is None:
            continue
        _check_kind(action, value)
        if action.dest in REFUSED:
            message = (
                f"--{action.dest} is not possible with --model {options.model}: "
                f"{REFUSED[action.dest]}. Leave it out."
            )
            raise InvalidArgumentError(message)
    _check_numbers(options)
    _check_output(options)
    check_gen_kwargs(options.gen_kwargs)
    _check_reasoning_tags(options.reasoning_tags)


def check_gen_kwargs(text: str | None) -> GenerationSettings:
    """Read ``name=value,name=value``, which lmms-eval joins with the settings of each task.

    Raises ``InvalidArgumentError`` for generation arguments that no engine of ours can use. Tasks
    have arguments of other models too, so theirs are only warned of.
    """
    given = split_arguments("--gen_kwargs", text or "")
    for name, value in given.items():
        if name not in KNOWN:
            message = (
                f"--gen_kwargs {name}={value} is not possible: it would have no effect."
                f"{did_you_mean(name, KNOWN)} Used are: {', '.join(sorted(KNOWN))}."
            )
            raise InvalidArgumentError(message)
        GEN_KWARGS.get(name, read_text)(f"--gen_kwargs {name}", value)
    return read_settings(given, max_new_tokens=sys.maxsize)


def check_fewshot(task: str, output_type: str, num_fewshot: int | None) -> None:
    """Raise ``InvalidArgumentError`` where few-shot examples would not reach the model.

    lmms-eval puts them before the text of a continuation to be scored; it asks chat models with
    conversations, which hold none.
    """
    if num_fewshot and output_type.startswith("generate"):
        message = (
            f"num_fewshot={num_fewshot} has no effect on {task}: lmms-eval asks chat models "
            "without examples, so the results would name examples that no prompt had. Pass "
            "--num_fewshot 0."
        )
        raise InvalidArgumentError(message)


def refuse_options(of_evaluate: Mapping[str, Any]) -> None:
    """Refuse options of the host's ``evaluate`` that have no effect on our models.

    A program passes them without the command that checks them. Raises ``InvalidArgumentError``.
    """
    from lmms_eval.evaluator_utils import get_task_list

    for name in REFUSED.keys() & of_evaluate.keys():
        if of_evaluate[name]:
            message = f"{name} has no effect on these models: {REFUSED[name]}. Leave it out."
            raise InvalidArgumentError(message)
    limit, tasks = of_evaluate.get("limit"), get_task_list(of_evaluate.get("task_dict") or {})
    if limit is not None and 0 < limit < 1 and len(tasks) > 1:
        _refuse("limit", limit, SHARE_OF_ONE)
    for found in tasks:
        if found.task is not None:
            config = found.task.config
            check_fewshot(found.task_name, str(config.output_type), config.num_fewshot)


def _refuse(name: str, value: object, allowed: str, *, is_why: bool = False) -> NoReturn:
    option = f"--{name}"
    raise refusal(option, value, allowed, is_why=is_why)


def _check_kind(action: argparse.Action, value: object) -> None:
    """Check the type of a value, which only a command line's has for certain."""
    name = f"--{action.dest}"
    if value == "":
        raise empty(name)
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise refusal(name, value, "Use true or false, without quotes")
    elif action.type is int:
        if isinstance(value, str):
            raise refusal(name, value, "Use a whole number, without quotes")
        read_int(name, value)
    elif action.choices is not None and value not in action.choices:
        raise refusal(name, value, f"Use one of: {', '.join(map(str, action.choices))}")
    elif action.type is str and not isinstance(value, str | int):
        raise refusal(name, value, "Use a text")


def _check_numbers(options: argparse.Namespace) -> None:
    limit = options.limit
    if limit is not None and limit != -1:
        number = read_float("--limit", limit, above=0)
        if number >= 1 and not number.is_integer():
            allowed = "Use a whole number of questions, or a share between 0 and 1"
            _refuse("limit", limit, allowed)
        if number < 1 and isinstance(options.tasks, str) and "," in options.tasks:
            _refuse("limit", limit, SHARE_OF_ONE)
    read_int("--offset", options.offset, at_least=0)
    read_int("--repeats", options.repeats, at_least=1)
    read_int("--process_docs_parallel", options.process_docs_parallel, at_least=1)
    if options.num_fewshot is not None:
        read_int("--num_fewshot", options.num_fewshot, at_least=0)
    seeds = options.seed
    is_list = isinstance(seeds, list) and len(seeds) == N_SEEDS
    if not is_list or not all(one is None or type(one) is int for one in seeds):
        allowed = "Use four whole numbers: --seed 0,1234,1234,1234, or seed: [0, 1, 2, 3] in a file"
        _refuse("seed", seeds, allowed)


def _check_output(options: argparse.Namespace) -> None:
    """Refuse what would end in a run whose results cannot be written."""
    from lmms_eval.loggers import EvaluationTracker
    from lmms_eval.utils import get_datetime_str, simple_parse_args_string

    folder = options.include_path
    if isinstance(folder, str) and not Path(folder).is_dir():
        _refuse("include_path", folder, "Use a folder with task definitions")
    path = options.output_path
    if path is None and (options.log_samples or options.predict_only):
        _refuse("log_samples", value=True, allowed="It needs --output_path with a folder")
    if path is not None:
        read_new_folder("--output_path", path)
        # The host passes the path on as an argument among others, and reads it again.
        if not _is_read_as(path, simple_parse_args_string):
            why = "lmms-eval does not read it as a path. Write ./ before it, without , and quotes"
            _refuse("output_path", path, why, is_why=True)
    try:
        get_datetime_str(timezone=options.timezone)
    except (LookupError, AttributeError):  # of a name that is unknown, and of what is no text
        _refuse("timezone", options.timezone, "Use a name such as Europe/Paris or UTC")
    known = set(inspect.signature(EvaluationTracker).parameters)
    for name, value in split_arguments("--hf_hub_log_args", options.hf_hub_log_args or "").items():
        if name not in known:
            allowed = f"Known are: {', '.join(sorted(known))}"
            _refuse(f"hf_hub_log_args {name}", value, allowed)


def _is_read_as(path: str, parse: Any) -> bool:  # noqa: ANN401  (the host's function)
    try:
        return bool(parse(f"output_path={path}") == {"output_path": path})
    except ValueError:
        return False


def _check_reasoning_tags(text: str | None) -> None:
    if text in (None, "none"):
        return
    try:
        tags = json.loads(str(text))
        is_pairs = all(len(pair) == 2 and all(map(str.strip, pair)) for pair in tags)  # noqa: PLR2004  (begin and end)
    except (ValueError, TypeError):
        is_pairs = False
    if not is_pairs:
        allowed = 'Use none, or a JSON list of pairs: [["<think>", "</think>"]]'
        _refuse("reasoning_tags", text, allowed)
