"""Which tools can run a setting, and what was checked to say so.

The versions are those that were looked at on the day of ``CHECKED``. transformers and vLLM were
run; of the others, the source was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.publish.deployment.setting import SettingToDeploy

CHECKED = "2026-11-29"
ONE_OF_ALL = "one number for all layers and tokens"


@dataclass(frozen=True)
class ToolSupport:
    """Whether a tool can run a setting."""

    tool: str
    """Name of the tool."""
    version: str
    """The version that was looked at."""
    is_able: bool
    """Whether it can run the setting."""
    how: str
    """What it can be told, or why it cannot run the setting."""


def tool_support(
    setting: SettingToDeploy, refusals: Mapping[str, str | None]
) -> tuple[ToolSupport, ...]:
    """List the tools that were looked at, and whether each can run a setting.

    ``refusals`` are the reasons why transformers alone and vLLM with this package cannot, ``None``
    where they can.
    """
    request = setting.checked
    k = request.resolved.num_experts_per_tok if request.resolved else None
    is_one = setting.schedule is not None and k is not None
    alone, vllm = refusals["transformers alone"], refusals["vllm"]
    ours = "moe.experts_k: by layer, modality and phase, and policies"
    others = [
        ("vLLM alone", "0.32.0", "--hf-overrides with the model's own key"),
        ("SGLang", "0.5.23", "--json-model-override-args with the model's own key"),
        ("llama.cpp", "0c1e57098", "--override-kv"),
        ("KoboldCpp", "1.102", "--moeexperts"),
        ("LM Studio", "SDK, 2026", "numExperts"),
    ]
    return (
        ToolSupport("transformers with moe-eval-plugin", "5.24.0", is_able=True, how=ours),
        ToolSupport(
            "transformers alone",
            "5.24.0",
            is_able=alone is None,
            how=alone or "an attribute of each router",
        ),
        ToolSupport(
            "vLLM with moe-eval-plugin",
            "0.32.0",
            is_able=vllm is None,
            how=vllm or "--hf-overrides with the key of this package: by layer",
        ),
        *(
            ToolSupport(tool, version, is_able=is_one, how=f"{option}: {ONE_OF_ALL}")
            for tool, version, option in others
        ),
    )
