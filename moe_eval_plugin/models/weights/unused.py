"""Decide whether weights that a model leaves unused make a difference to its answers.

transformers reports the weights of a checkpoint that its model does not have. Some of them are not
missed, and nothing else is accepted:

- what the class of the model itself lists as unused, such as layers that predict several tokens
  at once (transformers leaves these out of its report);
- layers behind the last one, if the configuration counts them as such layers
  (``num_nextn_predict_layers``);
- tables that the model computes itself, or that models of older releases stored: positions,
  rotary frequencies, causal masks;
- a bias of zeros, which adds nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.models.weights.safetensors_header import read_header
from moe_eval_plugin.models.weights.size import cached_snapshot, choose_weight_files

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import nn


# Tables of older releases; what is in them follows from the configuration.
OLD_TABLES = re.compile(
    r"(^|\.)(inv_freq|original_inv_freq|cos_cached|sin_cached|position_ids|masked_bias"
    r"|relative_position_index|token_type_ids)$"
)
IMAGE_PART = re.compile(r"visual|vision|image")
LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def is_harmless(name: str, model: nn.Module, files: Mapping[str, Path]) -> bool:
    """Whether a stored weight that a model does not have makes no difference to its answers.

    ``files`` has the file of each stored weight.
    """
    last = name.rpartition(".")[2]
    return bool(
        OLD_TABLES.search(name)
        or last in _computed_tables(model)
        or _is_of_extra_layer(name, getattr(model, "config", None))
        or (last.endswith("bias") and name in files and _is_zero(name, files[name]))
    )


def listed_as_unused(model: nn.Module, stored: Collection[str]) -> list[str]:
    """List the stored weights that the class of a model lists as unused, and does not have."""
    patterns = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    if not patterns:
        return []
    found = re.compile("|".join(f"({pattern})" for pattern in patterns))
    own = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    return sorted(name for name in stored if found.search(name) and name not in own)


def stored_weights(source: str, revision: str | None = None) -> dict[str, Path]:
    """Return the file of each weight in the safetensors files of a folder, or of the cache."""
    folder = Path(source) if is_folder(source) else cached_snapshot(source, revision)
    if folder is None:
        return {}
    names = choose_weight_files(path.name for path in folder.iterdir())
    files = [folder / name for name in names if name.endswith(".safetensors")]
    return {name: file for file in files for name in read_header(file)}


def _computed_tables(model: nn.Module) -> set[str]:
    """Return the names of the buffers that a model computes and does not store."""
    stored = model.state_dict().keys()
    return {path.rpartition(".")[2] for path, _ in model.named_buffers() if path not in stored}


def _is_of_extra_layer(name: str, config: Any) -> bool:  # noqa: ANN401  (a PretrainedConfig)
    text = config.get_text_config() if config is not None else None
    n_extra = getattr(text, "num_nextn_predict_layers", None) or 0
    n_layers = getattr(text, "num_hidden_layers", None)
    layer = LAYER.search(name)
    if not (n_extra and n_layers and layer) or IMAGE_PART.search(name):
        return False
    return bool(n_layers <= int(layer.group(1)) < n_layers + n_extra)


def _is_zero(name: str, file: Path) -> bool:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return not bool(opened.get_tensor(name).any())
