"""Folders that are not a checkpoint of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import ModelNotFoundError, UserError
from moe_eval_plugin.models import checkpoint
from tests.models.weights.checkpoints import POINTER, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model_index.json", "pipeline of diffusers"),
        ("model-Q4_K_M.gguf", "GGUF"),
        ("adapter_config.json", "merge_and_unload"),
        ("latest_checkpointed_iteration.txt", "Megatron"),
        ("checkpoint-10/config.json", r"models inside: .*checkpoint-10\."),
        (f"snapshots/{'0' * 40}/config.json", "models inside: .*snapshots"),
        ("README.md", "pretrained=demo"),
    ],
)
def test_a_folder_without_config_says_what_it_holds(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    write(tmp_path / name, {})
    with pytest.raises(ModelNotFoundError, match=rf"holds no config\.json.*{message}"):
        checkpoint.resolve(str(tmp_path))


def test_a_pointer_in_place_of_the_configuration_is_named(tmp_path: Path) -> None:
    write(tmp_path / "config.json", POINTER)
    with pytest.raises(UserError, match=r"config\.json in .*git lfs pull"):
        checkpoint.load_config(str(tmp_path))
