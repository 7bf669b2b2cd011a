"""Register our models and tasks with lm-eval, and add our rows to its results.

lm-eval 0.4.13 reads no entry points, so whoever wants our models calls ``register`` first, as
``moe-eval lm-eval`` does. Later releases read the models from the entry points of this package; for
these, each of our models calls ``register`` when it is made.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

ADAPTERS = "moe_eval_plugin.model_adapters"
# Our models by name: the class of each, in the form of a lazy entry of the host's registry.
MODELS = {
    "moe_hf": f"{ADAPTERS}.lm_eval_hf:MoEHFLM",
    "moe_hf-multimodal": f"{ADAPTERS}.lm_eval_hf_multimodal:MoEHFMultimodalLM",
    "moe_vllm": f"{ADAPTERS}.lm_eval_vllm:MoEVLLM",
    "moe_vllm-vlm": f"{ADAPTERS}.lm_eval_vllm:MoEVLLMVLM",
}


def register() -> None:
    """Register our models, tasks and rows with lm-eval; a second call changes nothing.

    Neither torch nor the host's evaluator is imported: what belongs to a module that is not
    imported yet is added when it is.
    """
    import lm_eval.models  # noqa: F401  (first: the host adds its own to an empty registry only)
    import wrapt
    from lm_eval.api.registry import model_registry

    for name, target in MODELS.items():
        # Releases that read entry points may know it already.
        if name not in model_registry:
            model_registry.register(name, target=target)
    wrapt.register_post_import_hook(_extend_task_manager, "lm_eval.tasks")
    wrapt.register_post_import_hook(_add_rows, "lm_eval.evaluator")
    wrapt.register_post_import_hook(_key_caches, "lm_eval.api.model")


def _extend_task_manager(tasks: ModuleType) -> None:
    """Wrap the constructor of ``TaskManager``: our folders come behind the host's own tasks.

    Of two tasks with one name lm-eval uses the one that it reads last, so a folder that the user
    names comes after ours.
    """
    manager = tasks.TaskManager
    original = manager.__init__
    if hasattr(original, "_moe_eval_tasks"):
        return

    @functools.wraps(original)
    def __init__(  # noqa: N807  (the host's name)
        self: Any,  # noqa: ANN401  (the host's class)
        verbosity: str | None = None,
        include_path: Any = None,  # noqa: ANN401  (a path, or a list of them)
        include_defaults: bool = True,  # noqa: FBT001, FBT002  (the host's signature)
        **options: Any,  # noqa: ANN401  (as above)
    ) -> None:
        from moe_eval_plugin.plugins.manager import task_folders

        ours = [str(folder) for folder in task_folders("lm-eval")] if include_defaults else []
        given = include_path if isinstance(include_path, list | tuple) else [include_path]
        paths = [*ours, *(path for path in given if path)]
        original(self, verbosity, paths or None, include_defaults, **options)
        self.include_path = include_path

    __init__._moe_eval_tasks = True  # type: ignore[attr-defined]  # noqa: SLF001
    manager.__init__ = __init__


def _add_rows(evaluator: ModuleType) -> None:
    from moe_eval_plugin.hosts.lm_eval.evaluation.result_rows import add_rows_to_results

    add_rows_to_results(evaluator)


def _key_caches(model: ModuleType) -> None:
    from moe_eval_plugin.hosts.lm_eval.evaluation.answer_cache import key_caches

    key_caches(model)
