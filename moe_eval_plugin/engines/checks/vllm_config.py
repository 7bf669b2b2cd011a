"""Register configurations of models that vLLM has and transformers lacks."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from moe_eval_plugin.architectures.register import register_for
from moe_eval_plugin.models.checkpoint import resolve

if TYPE_CHECKING:
    from moe_eval_plugin.engines.expert_request import ModelOptions

logger = logging.getLogger(__name__)


def register_configuration(options: ModelOptions) -> None:
    """Register vLLM's class for the configuration of a model, as vLLM does when it starts.

    That of DeepSeek-VL2 and Kimi-VL for instance; no code of the checkpoint runs. Nothing happens
    where transformers has a class, where vLLM has none or is not installed, and for a name that
    ``load_config`` refuses. Raises what ``resolve`` raises.
    """
    from transformers import CONFIG_MAPPING, PretrainedConfig

    source = resolve(options.pretrained)
    with suppress(OSError, TypeError, AttributeError):  # a file that `load_config` refuses
        raw, _ = PretrainedConfig.get_config_dict(source, revision=options.revision)
        register_for(raw, trust_remote_code=options.trust_remote_code)
        if isinstance(raw.get("model_type"), str) and raw["model_type"] not in CONFIG_MAPPING:
            _read_with_vllm(source, options.revision)


def _read_with_vllm(source: str, revision: str | None) -> None:
    """Read a configuration with vLLM, which registers its class with transformers."""
    try:
        from vllm.transformers_utils.config import get_config
    except ImportError:
        return
    try:
        get_config(source, trust_remote_code=False, revision=revision)
    except Exception as error:  # noqa: BLE001  (any class's constructor; `load_config` has a message)
        logger.debug("vLLM does not read the configuration of %s: %s", source, error)
