"""Write the option of llama.cpp, and of tools that are built on it, for one k in all layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import UnsupportedFamilyError

if TYPE_CHECKING:
    from moe_eval_plugin.publish.deployment.setting import SettingToDeploy

# Model type -> name of the architecture in a GGUF file, as llama.cpp's converter writes it.
ARCHITECTURES = {
    "afmoe": "afmoe",
    "cohere2_moe": "cohere2moe",
    "dbrx": "dbrx",
    "deepseek": "deepseek",
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
    "deepseek_v32": "deepseek32",
    "dots1": "dots1",
    "ernie4_5_moe": "ernie4_5-moe",
    "exaone_moe": "exaone-moe",
    "gemma4": "gemma4",
    "glm4_moe": "glm4moe",
    "glm4v_moe": "glm4moe",
    "gpt_oss": "gpt-oss",
    "granitemoe": "granitemoe",
    "granitemoeshared": "granitemoe",
    "hunyuan_v1_moe": "hunyuan-moe",
    "jamba": "jamba",
    "lfm2_moe": "lfm2moe",
    "minimax_m2": "minimax-m2",
    "mixtral": "llama",
    "nemotron_h": "nemotron_h_moe",
    "olmoe": "olmoe",
    "qwen2_moe": "qwen2moe",
    "qwen3_5_moe": "qwen35moe",
    "qwen3_moe": "qwen3moe",
    "qwen3_next": "qwen3next",
    "qwen3_vl_moe": "qwen3vlmoe",
}
ONE_NUMBER = (
    "llama.cpp, KoboldCpp and LM Studio take one number for all layers and tokens, and this "
    "setting has several. A GGUF file may hold a list by layer, but llama.cpp routes by it in "
    "nemotron_h_moe only: in a file of any other architecture a list gives wrong answers without a "
    "message, so do not write one"
)
NO_POLICY = "llama.cpp, KoboldCpp and LM Studio have no rule that drops experts by their weights"


def llama_cpp_command(setting: SettingToDeploy) -> str:
    """Return the commands for one k in all layers, with a line for each tool.

    Raises ``UnsupportedFamilyError`` for a schedule of several k and for a policy, and
    ``InvalidArgumentError`` without a model.
    """
    request = setting.checked
    k = request.resolved.num_experts_per_tok if request.resolved else None
    if setting.schedule is None or k is None:
        raise UnsupportedFamilyError(NO_POLICY if setting.schedule is None else ONE_NUMBER)
    architecture = ARCHITECTURES.get(request.description.model_type)
    key = f"{architecture or 'ARCH'}.expert_used_count"
    lines = [
        *([] if architecture else ["# ARCH is the value of general.architecture in the file."]),
        f"llama-server -m FILE.gguf --override-kv {key}=int:{k}",
        f"koboldcpp --model FILE.gguf --moeexperts {k}",
        f"# LM Studio: numExperts: {k} in the load configuration of its SDK.",
    ]
    return "\n".join([*lines, ""])
