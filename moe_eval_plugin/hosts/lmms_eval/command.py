"""Write the command line of lmms-eval, for sweeps, bundles and reports alike."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from moe_eval_plugin.hosts.shared.command_line import CommandLine, commit_of, seed_text
from moe_eval_plugin.option_values import argument_names

if TYPE_CHECKING:
    from moe_eval_plugin.results.run import Run

PROGRAM = "lmms-eval"
# Models of this package: they accept the commit of a checkpoint as an argument.
PINNABLE = ("moe_hf", "moe_vllm")


@dataclass(frozen=True)
class RunSettings(CommandLine):
    """Options of one lmms-eval run that change what is computed.

    Fields have the names, the order and the defaults of the options; a default is not written.
    """

    program: ClassVar[tuple[str, ...]] = (PROGRAM,)

    model: str
    """Backend, for instance ``moe_hf``."""
    model_args: str = ""
    """Arguments of the backend: ``name=value,name=value``."""
    tasks: tuple[str, ...] = ()
    """Tasks, groups or patterns."""
    batch_size: str | None = None
    """Requests at once: a number, or ``auto``."""
    device: str | None = None
    """Device of the model, where the backend takes it from lmms-eval."""
    limit: float | None = None
    """Questions of each task, or a share of them below 1; ``None`` for all."""
    gen_kwargs: str | None = None
    """Generation settings that replace those of the tasks: ``name=value,name=value``."""
    seed: str | None = None
    """Seeds of random, NumPy, torch and few-shot examples: ``0,1234,1234,1234``."""
    offset: int = 0
    """Number of the first question."""
    num_fewshot: int | None = None
    """Examples in each prompt; ``None`` leaves it to the task."""
    include_path: str | None = None
    """Folder with more task definitions."""
    system_instruction: str | None = None
    """System prompt for every question."""
    apply_chat_template: bool = False
    """Whether prompts are passed through the chat template."""
    fewshot_as_multiturn: bool = False
    """Whether few-shot examples are turns of a conversation."""
    max_tokens: int | None = None
    """Total number of tokens after which the run stops."""
    predict_only: bool = False
    """Whether answers are only generated, and not scored."""
    process_with_media: bool = False
    """Whether the documents are processed with their media."""
    force_simple: bool = False
    """Whether the simple variant of a backend is used, not the chat variant."""
    trust_remote_code: bool = False
    """Whether code from the repositories of data sets may run."""
    reasoning_tags: str = '[["<think>", "</think>"], ["<analysis>", "</analysis>"]]'
    """JSON list of the tag pairs around reasoning."""
    repeats: int = 1
    """Answers for each question."""
    log_samples: bool = False
    """Whether each answer is written to a samples file."""


def settings_of(run: Run, *, log_samples: bool = True) -> RunSettings:
    """Return the settings that a results file of lmms-eval records.

    The commit of the checkpoint that the run used is pinned in the arguments of the model.
    """
    found = run.options
    known = {
        field.name: _plain(found[field.name])
        for field in fields(RunSettings)
        if found.get(field.name) not in (None, "")
    }
    tasks = found.get("tasks") or [task.task for task in run.tasks]
    given = {
        "model": run.backend,
        "model_args": pinned_model_args(run.backend, known.get("model_args", ""), commit_of(run)),
        "tasks": tuple(tasks.split(",") if isinstance(tasks, str) else tasks),
        "seed": seed_text(found),
        "log_samples": log_samples,
    }
    return RunSettings(**{**known, **given})


def pinned_model_args(model: str, model_args: str, commit: str | None) -> str:
    """Return the arguments of a model with the commit of its checkpoint.

    They are unchanged where no commit is known, where they name a revision, and for models that
    are not of this package.
    """
    if not commit or "revision" in argument_names(model_args) or model not in PINNABLE:
        return model_args
    return ",".join(part for part in (model_args, f"revision={commit}") if part)


def _plain(value: Any) -> Any:  # noqa: ANN401  (a value of any option, from JSON)
    """Return a value as its option takes it; lmms-eval may store a table or a list."""
    if isinstance(value, dict):
        given = {name: one for name, one in value.items() if one is not None}
        return ",".join(f"{name}={_plain_object(one)}" for name, one in given.items())
    return json.dumps(value) if isinstance(value, list) else value


def _plain_object(value: Any) -> Any:  # noqa: ANN401  (as above)
    """Return one value of a table; those that are tables or lists themselves are JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value
