"""Small checkpoints: the embedded model's files, some of them changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from moe_eval_plugin.models.demo import MODEL_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 3933352\n"
INDEX = "model.safetensors.index.json"
SHARD = "model-0000{}-of-00002.safetensors"


def demo_copy(folder: Path, *without: str) -> Path:
    """Link the files of the embedded model into a folder, but some."""
    for path in MODEL_PATH.iterdir():
        if path.name not in without:
            (folder / path.name).symlink_to(path)
    return folder


def write(file: Path, content: str | bytes | dict[str, Any]) -> None:
    """Write a file in place of the link that may be there."""
    file.unlink(missing_ok=True)
    text = json.dumps(content) if isinstance(content, dict) else content
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


def change_json(file: Path, **changes: Any) -> None:
    """Change keys of a JSON file."""
    write(file, {**json.loads(file.read_text("utf-8")), **changes})


def demo_with_weights(folder: Path, changes: Mapping[str, torch.Tensor | None]) -> Path:
    """Copy the embedded model with some weights added, replaced or (``None``) removed."""
    demo_copy(folder, "model.safetensors")
    weights = {**load_file(MODEL_PATH / "model.safetensors"), **changes}
    kept = {name: weight for name, weight in weights.items() if weight is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def sharded(folder: Path) -> Path:
    """Write two small files of weights and their index."""
    write(folder / "config.json", {})
    of_weights = {"a": SHARD.format(1), "b": SHARD.format(2)}
    for name, file in of_weights.items():
        save_file({name: torch.ones(3)}, folder / file)
    write(folder / INDEX, {"metadata": {}, "weight_map": of_weights})
    return folder
