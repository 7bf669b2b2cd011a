"""Our place in lmms-eval: the models it lists, and the tasks it finds.

lmms-eval 0.7 has an entry point for models and none for tasks, so its ``TaskManager`` is extended
once it is imported. Nothing that it ships is changed or shadowed: our folder is read last, and on
equal names the host's own task stays. Its command line prints a traceback and exits with 0 on any
``Exception``; ``user_errors`` makes a failed run end as one.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import logging
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import MoEEvalError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from lmms_eval.models.registry_v2 import ModelManifest

MOE_HF = "moe_hf"
MOE_VLLM = "moe_vllm"
logger = logging.getLogger(__name__)

FALLBACK = 'Add --include_path "$(moe-eval tasks-path)" to the command instead.'


def manifests() -> list[ModelManifest]:
    """List our models for lmms-eval; the payload of the entry point ``lmms_eval.models``.

    Called when lmms-eval starts. It imports neither torch nor transformers.
    """
    import wrapt
    from lmms_eval.models.registry_v2 import ModelManifest

    wrapt.register_post_import_hook(_extend_task_manager, "lmms_eval.tasks")
    return [
        ModelManifest(
            model_id=MOE_HF,
            chat_class_path="moe_eval_plugin.model_adapters.lmms_eval_hf.MoEHF",
        ),
        ModelManifest(
            model_id=MOE_VLLM,
            chat_class_path="moe_eval_plugin.model_adapters.lmms_eval_vllm.MoEVLLM",
        ),
    ]


@contextmanager
def user_errors() -> Iterator[None]:
    """End the process when the block fails, with the exit code of the error.

    An error of ours is one message on stderr. Anything else is a fault: its traceback is shown
    and the exit code is 1. Serves as a decorator too.
    """
    try:
        yield
    except UserError as error:
        _exit(f"error: {error}", error.exit_code)
    except MoEEvalError as error:
        _exit(f"{type(error).__name__}: {error}", error.exit_code)
    except Exception:  # noqa: BLE001  (the host would swallow it and exit with 0)
        _exit(traceback.format_exc(), 1)


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
        from moe_eval_plugin._lmms_eval_results import add_rows_to_results
        from moe_eval_plugin.plugins import task_folders

        add_rows_to_results()
        _check_command(sys.argv[1:])
        given = [include_path] if isinstance(include_path, str) else list(include_path or [])
        with user_errors():
            ours = [str(folder) for folder in task_folders()]
        return original(self, include_path=[*given, *ours], **kwargs)

    tasks.TaskManager.initialize_tasks = initialize_tasks


def _check_command(arguments: list[str]) -> None:
    """Refuse wrong arguments of ours before the host reads thousands of task definitions."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model")
    parser.add_argument("--model_args", default="")
    command, _ = parser.parse_known_args(arguments)
    if "--tasks" not in arguments or "list" in arguments:
        return
    if command.model == MOE_HF:
        from moe_eval_plugin.model_adapters.lmms_eval_hf import check_arguments as check_hf

        check_hf(command.model_args)
    elif command.model == MOE_VLLM:
        from moe_eval_plugin.model_adapters.lmms_eval_vllm import check_arguments as check_vllm

        check_vllm(command.model_args)


def _exit(message: str, code: int) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"\n{message}\n")
    sys.stderr.flush()
    raise SystemExit(code)
