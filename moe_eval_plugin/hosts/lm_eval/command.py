"""Write the command line of lm-eval, for sweeps, bundles and reports alike."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from moe_eval_plugin.hosts.lm_eval.arguments import join_texts, read_arguments, write_arguments
from moe_eval_plugin.hosts.shared.command_line import CommandLine, commit_of, seed_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.results.run import Run

PROGRAM = ("moe-eval", "lm-eval", "run")
# Models of this package: they accept the commit of a checkpoint as an argument.
PINNABLE = ("moe_hf", "moe_hf-multimodal", "moe_vllm", "moe_vllm-vlm")
# The device that results record where none was asked for.
DEFAULT_DEVICE = "cuda:0"


@dataclass(frozen=True)
class RunSettings(CommandLine):
    """Options of one lm-eval run that change what is computed.

    Fields have the names, the order and the defaults of the options; a default is not written.
    Arguments are ``name=value,name=value``, or a JSON object.
    """

    program: ClassVar[tuple[str, ...]] = PROGRAM

    model: str
    """Backend, for instance ``moe_hf``."""
    model_args: str = ""
    """Arguments of the backend."""
    tasks: tuple[str, ...] = ()
    """Tasks, groups, patterns or files."""
    apply_chat_template: bool | str = False
    """Whether prompts are passed through the chat template, or the name of the template."""
    limit: float | None = None
    """Questions of each task, or a share of them below 1; ``None`` for all."""
    num_fewshot: int | None = None
    """Examples in each prompt; ``None`` leaves it to the task."""
    batch_size: str | None = None
    """Requests at once: a number, ``auto`` or ``auto:N``."""
    max_batch_size: int | None = None
    """Largest batch that ``auto`` tries."""
    device: str | None = None
    """Device of the model, where the backend takes it from lm-eval."""
    gen_kwargs: str | None = None
    """Generation settings that replace those of the tasks."""
    samples: str | None = None
    """JSON object with the numbers of the questions that each task asks."""
    system_instruction: str | None = None
    """System prompt for every question."""
    fewshot_as_multiturn: bool | None = None
    """Whether few-shot examples are turns of a conversation; ``None`` with a chat template."""
    include_path: str | None = None
    """Folder with more task definitions."""
    predict_only: bool = False
    """Whether answers are only generated, and not scored."""
    seed: str | None = None
    """Seeds of random, NumPy, torch and few-shot examples: ``0,1234,1234,1234``."""
    trust_remote_code: bool = False
    """Whether code from the repositories of models and data sets may run."""
    confirm_run_unsafe_code: bool = False
    """Whether tasks that run the code of answers are allowed."""
    metadata: str | None = None
    """Arguments of tasks that need some."""
    log_samples: bool = False
    """Whether each answer is written to a samples file."""


def settings_of(run: Run, *, log_samples: bool = True) -> RunSettings:
    """Return the settings that a results file of lm-eval records.

    The commit of the checkpoint that the run used is pinned in the arguments of the model. Options
    that lm-eval leaves out of its file are known of runs of ``moe-eval lm-eval``.
    """
    found = _as_typed(run.options)
    known = {
        field.name: _plain(field.name, found[field.name])
        for field in fields(RunSettings)
        if found.get(field.name) not in (None, "", {})
    }
    model_args = known.get("model_args", "")
    given = {
        "model": run.backend,
        "model_args": pinned_model_args(run.backend, model_args, commit_of(run)),
        "tasks": _tasks(found.get("tasks"), run),
        "seed": seed_text(found),
        "log_samples": log_samples,
    }
    return RunSettings(**{**known, **given})


def argument_names(model_args: str) -> set[str]:
    """Return the names in the arguments of a model."""
    return set(read_arguments(model_args))


def pinned_model_args(model: str, model_args: str, commit: str | None) -> str:
    """Return the arguments of a model with the commit of its checkpoint.

    They are unchanged where no commit is known, where they name a revision, and for models that
    are not of this package.
    """
    if not commit or "revision" in argument_names(model_args) or model not in PINNABLE:
        return model_args
    return join_texts((model_args, write_arguments({"revision": commit})))


def _as_typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without what lm-eval adds to them: its device, and copies of arguments."""
    found = dict(options)
    if found.get("device") == DEFAULT_DEVICE:
        del found["device"]
    model_args = found.get("model_args")
    if not isinstance(model_args, dict):
        return found
    if found.get("trust_remote_code"):
        found["model_args"] = _without(model_args, {"trust_remote_code": True})
    if isinstance(found.get("metadata"), dict):
        found["metadata"] = _without(found["metadata"], model_args)
    return found


def _without(arguments: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in arguments.items()
        if name not in others or others[name] != value
    }


def _tasks(given: object, run: Run) -> tuple[str, ...]:
    """Return the tasks as they were asked for, or those that were run."""
    names = given.split(",") if isinstance(given, str) else given
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return tuple(task.task for task in run.tasks)


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401  (a value of any option, from JSON)
    """Return a value as its option takes it."""
    if isinstance(value, dict):
        return json.dumps(value) if name == "samples" else write_arguments(value)
    return str(value) if name == "batch_size" else value
