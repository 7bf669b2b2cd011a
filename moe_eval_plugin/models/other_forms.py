"""Recognise what a folder holds in place of a checkpoint of transformers, by the names in it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import BrokenCheckpointError
from moe_eval_plugin.text import first_few

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ADAPTER_FILE = "adapter_config.json"
POINTER_START = b"version https://git-lfs.github.com/spec/"
# A pointer is a text of three lines; no file that holds something is so small and begins so.
MAX_POINTER_BYTES = 1024
# The first pattern that a name in the folder matches explains the folder.
OTHER_FORMS = (
    (
        re.compile(r"model_index\.json"),
        "It is a pipeline of diffusers, which makes images. Use a language model.",
    ),
    (
        re.compile(r".*\.gguf"),
        (
            "Its weights are GGUF files, which llama.cpp runs. Use the safetensors "
            "checkpoint that they were made from."
        ),
    ),
    (
        re.compile(r"zero_to_fp32\.py|global_step\d+"),
        (
            "Its weights are a training state of DeepSpeed. Convert them: python zero_to_fp32.py "
            "FOLDER FOLDER --safe_serialization."
        ),
    ),
    (
        re.compile(r"latest_checkpointed_iteration\.txt|iter_\d+|.*\.distcp"),
        (
            "Its weights are a distributed checkpoint of Megatron or torch. Convert one of "
            "FLAME-MoE with `moe-eval convert flame-moe FOLDER OUTPUT`, and any other with the "
            "tool of the project that trained it."
        ),
    ),
    (
        re.compile(r"consolidated.*|params\.json"),
        (
            "Its weights are in the form of the model's authors (consolidated.*). Use the "
            "published folder in the form of transformers."
        ),
    ),
    (
        re.compile(r"flax_model.*\.msgpack|tf_model.*\.h5|.*\.onnx"),
        (
            "Its weights are those of Flax, TensorFlow or ONNX. Save them with save_pretrained of "
            "PyTorch."
        ),
    ),
)


def is_pointer(path: Path) -> bool:
    """Whether a file is what Git LFS leaves where the content was not downloaded."""
    if not path.is_file() or path.stat().st_size > MAX_POINTER_BYTES:
        return False
    return path.read_bytes().startswith(POINTER_START)


def refuse_pointers(files: Iterable[Path]) -> None:
    """Raise ``BrokenCheckpointError`` for pointers of Git LFS among some files of a folder."""
    pointers = sorted(file for file in files if is_pointer(file))
    if pointers:
        folder = pointers[0].parent
        message = (
            f"{first_few([file.name for file in pointers])} in {folder}: pointers of Git LFS, "
            "whose content was not downloaded. Run `git lfs pull` in that folder, or download "
            f"the files: {download_command(folder)}."
        )
        raise BrokenCheckpointError(message)


def explain_folder(folder: Path) -> str | None:
    """Return what a folder that cannot be loaded holds, and what to do; ``None`` if unknown."""
    if (folder / ADAPTER_FILE).is_file():
        return explain_adapter(folder)
    names = sorted(path.name for path in folder.iterdir())
    for pattern, text in OTHER_FORMS:
        if any(pattern.fullmatch(name) for name in names):
            return text
    inside = [*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json")]
    if inside:
        return f"It has models inside: {first_few(sorted(path.parent for path in inside))}."
    return None


def explain_adapter(folder: Path) -> str:
    """Return what to do with an adapter, and the model that it changes where it names one."""
    try:
        settings = json.loads((folder / ADAPTER_FILE).read_bytes())
        base = settings.get("base_model_name_or_path")
    except (ValueError, AttributeError):
        base = None
    return (
        f"It has an adapter ({ADAPTER_FILE}), which only changes a base model"
        f"{f' ({base})' if base else ''}. Merge the two with peft (merge_and_unload, then "
        "save_pretrained), and use the merged folder."
    )


def download_command(folder: Path) -> str:
    """Return the command that downloads the files of a checkpoint into a folder."""
    return f"hf download MODEL --local-dir {folder}"
