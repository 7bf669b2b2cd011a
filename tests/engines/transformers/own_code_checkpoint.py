"""A tiny checkpoint that brings its own code, with the embedded model's tokenizer and images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.models.demo import MODEL_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

CODE = Path(__file__).parents[2] / "data" / "own_code" / "modeling_tiny.txt"
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def write_checkpoint(
    folder: Path,
    classes: Sequence[str],
    *,
    name: str = "VL",
    processor: dict[str, Any] | None = None,
    code: str = "",
) -> Path:
    """Write a checkpoint whose ``auto_map`` registers its model for these auto classes.

    ``name`` is VL or Text; ``processor`` changes its processor's file, and ``code`` is appended to
    the published code.
    """
    import torch
    from transformers import AutoTokenizer
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    shutil.copytree(MODEL_PATH, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    (folder / "modeling_tiny.py").write_text(CODE.read_text("utf-8"), "utf-8")
    if name == "Text":
        for file in PROCESSOR_FILES:
            (folder / file).unlink(missing_ok=True)
    file = folder / PROCESSOR_FILES[0]
    if processor is not None:
        file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **processor}), "utf-8")
    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    config_class = get_class_from_dynamic_module(f"modeling_tiny.Tiny{name}Config", str(folder))
    model_class = get_class_from_dynamic_module(f"modeling_tiny.Tiny{name}", str(folder))
    config = config_class(dtype="float32")
    config.get_text_config().vocab_size = len(tokenizer)
    config.media_placeholder_token_id = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    torch.manual_seed(0)
    for part in (config, config.get_text_config()):
        part.rope_parameters = None
    model_class(config).save_pretrained(folder)
    (folder / "modeling_tiny.py").write_text(CODE.read_text("utf-8") + code, "utf-8")
    # As code of transformers 4 was saved: without a rope_scaling, and nothing instead of it.
    written = json.loads((folder / "config.json").read_text("utf-8"))
    for part in (written, written.get("text_config", {})):
        part.pop("rope_parameters", None)
    written["transformers_version"] = "4.50.3"
    auto_map = {"AutoConfig": f"modeling_tiny.Tiny{name}Config"}
    auto_map |= dict.fromkeys(classes, f"modeling_tiny.Tiny{name}")
    (folder / "config.json").write_text(json.dumps({**written, "auto_map": auto_map}), "utf-8")
    return folder
