"""Register our models and tasks with lmms-eval.

lmms-eval 0.7 has an entry point for models and none for tasks, so its ``TaskManager`` is extended
once it is imported. Nothing that it ships is changed or shadowed: our folder is read last, and of
two tasks with one name the host's own is used. Its command line prints a traceback and exits with
0 on any ``Exception``; ``user_errors`` makes a failed run end with a non-zero code.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.replacement import replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmms_eval.models.registry_v2 import ModelManifest

# Our models by name: the class of each, a `MoEModel`.
MODELS = {
    "moe_hf": "moe_eval_plugin.model_adapters.lmms_eval_hf.MoEHF",
    "moe_vllm": "moe_eval_plugin.model_adapters.lmms_eval_vllm.MoEVLLM",
}
logger = logging.getLogger(__name__)

FALLBACK = 'Add --include_path "$(moe-eval tasks-path)" to the command instead.'


def manifests() -> list[ModelManifest]:
    """List our models for lmms-eval; the payload of the entry point ``lmms_eval.models``.

    Called when lmms-eval starts. It imports neither torch nor transformers.
    """
    import wrapt
    from lmms_eval.models.registry_v2 import ModelManifest

    wrapt.register_post_import_hook(_extend_task_manager, "lmms_eval.tasks")
    # `lmms-eval models` prints this table, which the host extends for its older plugins too.
    listed = getattr(sys.modules.get("lmms_eval.models"), "AVAILABLE_CHAT_TEMPLATE_MODELS", {})
    listed.update(MODELS)
    return [ModelManifest(model_id=name, chat_class_path=path) for name, path in MODELS.items()]


def _extend_task_manager(tasks: ModuleType) -> None:
    """Wrap ``TaskManager.initialize_tasks`` so that it reads our folder too."""
    original: Callable[..., dict[str, Any]] | None = getattr(
        getattr(tasks, "TaskManager", None), "initialize_tasks", None
    )
    if original is None or "include_path" not in inspect.signature(original).parameters:
        logger.warning("This lmms-eval cannot be shown the tasks of moe-eval-plugin. %s", FALLBACK)
        return

    @functools.wraps(original)
    def initialize_tasks(self: Any, include_path: Any = None, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        from moe_eval_plugin.hosts.lmms_eval.result_rows import add_rows_to_results
        from moe_eval_plugin.hosts.lmms_eval.running_command import (
            check_command,
            check_tasks,
            running_options,
        )
        from moe_eval_plugin.plugins.manager import task_folders

        add_rows_to_results()
        given = [include_path] if isinstance(include_path, str) else list(include_path or [])
        with user_errors():
            checked = check_command(running_options(), MODELS)
            ours = [str(folder) for folder in task_folders()]
        with fast_yaml():
            index = original(self, include_path=[*given, *ours], **kwargs)
        if checked is not None:
            with user_errors():
                check_tasks(checked, index)
        return index

    tasks.TaskManager.initialize_tasks = initialize_tasks


@contextmanager
def fast_yaml() -> Iterator[None]:
    """Parse lmms-eval's YAML with libyaml in the block, a fifth of the time, where PyYAML has it.

    It parses thousands of files to list its tasks. The definition of a task that runs is not read
    in the block, so that its functions are imported by the host's own loader.
    """
    import yaml
    from lmms_eval import utils

    c_loader = getattr(yaml, "CFullLoader", None)
    if c_loader is None or getattr(utils, "yaml", None) is not yaml:
        yield
        return
    # The host adds a constructor to its loader; one of our own leaves PyYAML's as they are.
    loader = type("Loader", (c_loader,), {})
    fast = ModuleType(yaml.__name__)
    vars(fast).update(
        vars(yaml),
        add_constructor=partial(yaml.add_constructor, Loader=loader),
        full_load=partial(yaml.load, Loader=loader),
    )
    with replaced(utils, "yaml", fast):
        yield
