"""An example of a plugin: a task that lmms-eval finds like a built-in one, and a model family."""

from pathlib import Path

from moe_eval_plugin.family import Family
from moe_eval_plugin.hookspecs import hookimpl


@hookimpl
def moe_eval_task_folders() -> list[Path]:
    """Name the folder that holds our task."""
    return [Path(__file__).parent / "tasks"]


@hookimpl
def moe_eval_register_families() -> list[Family]:
    """Tell where our models keep k: under a name that nobody would guess."""
    return [
        Family(
            model_type="picky_moe",
            k_key="picks",
            num_experts_key="choices",
            scoring="softmax over all experts, then the k largest",
            renormalise="always",
        )
    ]
