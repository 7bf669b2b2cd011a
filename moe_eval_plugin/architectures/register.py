"""Register the model types of this package with transformers.

A registration of anybody else is kept: that of transformers itself, once it has the type, and that
of another package, with a warning that names it.

transformers uses a registered class even where a checkpoint brings code and the user trusts it. So
``register_for`` removes the registration before such a checkpoint is loaded.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL_TYPE = "deepseek"
# The layout of its experts in a checkpoint is that of this type.
LIKE_ITS_EXPERTS = "qwen2_moe"


def register() -> None:
    """Register the configuration and the language model of type ``deepseek`` with transformers.

    A second call does nothing. Imports torch and the layers from transformers.
    """
    if not register_config():
        return
    from transformers import AutoModelForCausalLM
    from transformers.conversion_mapping import (
        get_checkpoint_conversion_mapping,
        register_checkpoint_conversion_mapping,
    )

    from moe_eval_plugin.architectures.deepseek import DeepseekForCausalLM, DeepseekMoEModel
    from moe_eval_plugin.architectures.deepseek_config import DeepseekConfig

    AutoModelForCausalLM.register(DeepseekConfig, DeepseekForCausalLM, exist_ok=True)
    register_checkpoint_conversion_mapping(
        DeepseekMoEModel.__name__,
        get_checkpoint_conversion_mapping(LIKE_ITS_EXPERTS),
        overwrite=True,
    )


def register_config() -> bool:
    """Register the configuration alone; return whether the type ``deepseek`` is this package's.

    It is enough for vLLM, which has the model and no configuration. No model code is imported.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    from moe_eval_plugin.architectures.deepseek_config import DeepseekConfig

    if MODEL_TYPE not in CONFIG_MAPPING:
        AutoConfig.register(MODEL_TYPE, DeepseekConfig)
    registered = CONFIG_MAPPING[MODEL_TYPE]
    if registered is DeepseekConfig:
        return True
    if not registered.__module__.startswith("transformers."):
        warnings.warn(
            f"{registered.__module__} has registered the model type {MODEL_TYPE} with transformers,"
            " and its class is used instead of that of moe-eval-plugin.",
            RuntimeWarning,
            stacklevel=2,
        )
    return False


def register_for(raw: Mapping[str, Any], *, trust_remote_code: bool) -> None:
    """Register what a checkpoint needs, or remove it where its own code is trusted.

    ``raw`` is its ``config.json``. Nothing is imported for a checkpoint of another type.
    """
    if raw.get("model_type") != MODEL_TYPE:
        return
    auto_map = raw.get("auto_map")
    if trust_remote_code and isinstance(auto_map, dict) and "AutoConfig" in auto_map:
        _remove()
    else:
        register()


def _remove() -> None:
    from transformers import CONFIG_MAPPING

    from moe_eval_plugin.architectures.deepseek_config import DeepseekConfig

    # transformers has no public way to take a registration back.
    registered = CONFIG_MAPPING._extra_content  # noqa: SLF001
    if registered.get(MODEL_TYPE) is DeepseekConfig:
        del registered[MODEL_TYPE]
