"""Read a model from the text of its ``config.json`` alone, where that states everything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.models.checkpoint import ask_hub, network_errors, resolve
from moe_eval_plugin.models.inspection.qwen3 import stated_parts
from moe_eval_plugin.models.stated_experts import CONFIG, describe_stated, read_stated
from moe_eval_plugin.models.weights.dtypes import DTYPE_BYTES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.models.inspection.parts import ModelParts

# With any of these, the modules are not those of the family, or not read from the sizes alone.
SPECIAL = ("auto_map", "quantization_config", "compression_config")


def stated_model(
    pretrained: str, revision: str | None = None
) -> tuple[PretrainedConfig, MoEDescription, ModelParts] | None:
    """Return a model's configuration, its experts and its parts, or ``None``.

    ``None`` means that transformers must be asked. Of a model on the Hub, its configuration is
    downloaded. Raises what ``resolve`` and ``ask_hub`` raise.
    """
    name = resolve(pretrained)
    path = Path(name, CONFIG) if is_folder(name) else _from_hub(name, revision)
    if path is None or (revision is not None and is_folder(name)):
        return None
    config: Any = read_stated(path)
    description = describe_stated(config) if config is not None else None
    if description is None or not _is_usual(config):
        return None
    parts = stated_parts(config, description.num_experts)
    return (cast("PretrainedConfig", config), description, parts) if parts else None


def _is_usual(config: Any) -> bool:  # noqa: ANN401  (parts of a JSON object)
    """Whether nothing changes the modules; completes the data type, which has two names."""
    if any(hasattr(part, name) for part in (config, config.get_text_config()) for name in SPECIAL):
        return False
    names = [getattr(config, name, None) for name in ("dtype", "torch_dtype")]
    given = {name for name in names if name is not None}
    config.dtype = next(iter(given), None)
    return len(given) <= 1 and given <= DTYPE_BYTES.keys()


def _from_hub(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import hf_hub_download

    local_only = ask_hub(name, revision) is None
    failures: tuple[type[Exception], ...] = (*network_errors(), OSError, ValueError)
    try:
        return Path(hf_hub_download(name, CONFIG, revision=revision, local_files_only=local_only))
    except failures:
        return None
