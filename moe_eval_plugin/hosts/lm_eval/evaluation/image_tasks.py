"""Refuse tasks with images for a model of ours that takes none, in words that name another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Our models for text alone, and those that take images.
WITH_IMAGES = {"moe_hf": "moe_hf-multimodal", "moe_vllm": "moe_vllm-vlm"}


def check_named_tasks(
    model: str,
    tasks: Iterable[str | Mapping[str, Any]],
    index: Mapping[str, Any],
) -> None:
    """Raise ``InvalidArgumentError`` if a task has images and the model takes none.

    Nothing is loaded: ``tasks`` are names or definitions, and ``index`` is the host's.
    """
    if model in WITH_IMAGES:
        named = [
            name
            for name, definition in task_definitions(tasks, index)
            if definition.get("doc_to_image") is not None
        ]
        _refuse(model, [*dict.fromkeys(named)], WITH_IMAGES[model])


def task_definitions(
    tasks: Iterable[str | Mapping[str, Any]], index: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the definitions of tasks and of the members of groups and tags, by name.

    ``tasks`` are names or definitions, and ``index`` is the host's; functions are not imported.
    """
    for one in tasks:
        entry = index.get(one) if isinstance(one, str) else None
        definition = (entry.cfg or {"task": sorted(entry.tags)}) if entry else one
        if isinstance(definition, str):
            continue
        members = definition.get("task")
        if isinstance(members, list):
            yield from task_definitions(members, index)
        else:
            # A group may name a task of the index with other settings.
            known = index.get(str(members)) if entry is None else None
            yield str(members), {**(getattr(known, "cfg", None) or {}), **definition}


def check_loaded_tasks(lm: Any, tasks: Mapping[str, Any]) -> None:  # noqa: ANN401  (any model of the host)
    """Raise ``InvalidArgumentError`` if a loaded task has images and a loaded model takes none."""
    if not getattr(lm, "MULTIMODAL", False):
        named = [name for name, task in tasks.items() if getattr(task, "MULTIMODAL", False)]
        _refuse(type(lm).__name__, named, " or ".join(WITH_IMAGES.values()))


def _refuse(model: str, tasks: list[str], others: str) -> None:
    if tasks:
        message = (
            f"{', '.join(tasks)}: these questions have images, and {model} is for text alone. Use "
            f"--model {others}, with --apply_chat_template."
        )
        raise InvalidArgumentError(message)
