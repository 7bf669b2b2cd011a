"""Write the command that serves a model with vLLM at a schedule by layer."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from moe_eval_plugin.engines.vllm.options import VLLMOptions, check_vllm_request, k_by_layer
from moe_eval_plugin.engines.vllm.set_k import KEY
from moe_eval_plugin.errors import UnsupportedFamilyError
from moe_eval_plugin.models.checkpoint import resolve

if TYPE_CHECKING:
    from moe_eval_plugin.publish.deployment.setting import SettingToDeploy


def vllm_command(setting: SettingToDeploy) -> str:
    """Return the command line of ``vllm serve``, for an environment with this package.

    Raises ``UnsupportedFamilyError`` for a policy and for a family whose k is fixed in vLLM,
    ``InvalidExpertCountError`` for a k that differs by modality or phase, and
    ``InvalidArgumentError`` without a model.
    """
    model = setting.checked.model
    if setting.schedule is None:
        message = "vLLM's kernels use every expert that a router chose, so it has no policies"
        raise UnsupportedFamilyError(message)
    options = VLLMOptions(
        pretrained=model.pretrained,
        revision=model.revision,
        experts_k=setting.schedule.text,
        trust_remote_code=model.trust_remote_code,
    )
    table = k_by_layer(check_vllm_request(options, model))
    words = [
        *("vllm", "serve", resolve(model.pretrained)),
        *(("--revision", model.revision) if model.revision else ()),
        *(("--trust-remote-code",) if model.trust_remote_code else ()),
        *("--hf-overrides", json.dumps({KEY: table})),
    ]
    return shlex.join(words)
