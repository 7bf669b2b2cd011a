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

TARGETS = ("transformers", "vllm", "llama.cpp")
ALL = "all"
CHECKED = "2026-11-29"
ONE_OF_ALL = "one number for all layers"


@dataclass(frozen=True)
class ToolSupport:
    """Whether a tool can run a setting."""

    tool: str
    """Name of the tool."""
    version: str
    """The version that was checked."""
    is_able: bool
    """Whether it can run the setting."""
    how: str
    """The option or key that sets it, or why the tool cannot run the setting."""


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
    ours = "moe.experts_k: by layer, modality, phase; policies"
    others = [
        ("vLLM alone", "0.32.0", "--hf-overrides, the key of the model"),
        ("SGLang", "0.5.23", "--json-model-override-args"),
        ("llama.cpp", "0c1e57098", "--override-kv"),
        ("KoboldCpp", "1.102", "--moeexperts"),
        ("LM Studio", "SDK 0012463", "numExperts"),
    ]
    return (
        ToolSupport("transformers with moe-eval-plugin", "5.24.0", is_able=True, how=ours),
        ToolSupport(
            "transformers alone",
            "5.24.0",
            is_able=alone is None,
            how=alone or "an attribute of each router: by layer",
        ),
        ToolSupport(
            "vLLM with moe-eval-plugin",
            "0.32.0",
            is_able=vllm is None,
            how=_first_sentence(vllm) or "--hf-overrides, a key of this package: by layer",
        ),
        *(
            ToolSupport(tool, version, is_able=is_one, how=f"{option}: {ONE_OF_ALL}")
            for tool, version, option in others
        ),
    )


def _first_sentence(text: str | None) -> str:
    return (text or "").partition(". ")[0]
