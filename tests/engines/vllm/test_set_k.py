from __future__ import annotations

import json
import os
import shutil
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.engines.vllm import set_k
from moe_eval_plugin.engines.vllm.options import VLLMOptions
from moe_eval_plugin.engines.vllm.process import earlier_code
from moe_eval_plugin.engines.vllm.set_k import EARLIER_CODE, set_k_when_built
from moe_eval_plugin.models.checkpoint import load_config
from moe_eval_plugin.models.demo import MODEL_PATH

if TYPE_CHECKING:
    from pathlib import Path


def test_a_vllm_without_the_factory_is_left_alone() -> None:
    module = ModuleType("layer")
    before = dict(vars(module))
    set_k_when_built(module)
    assert vars(module) == before


@pytest.mark.parametrize("trusts", [True, False])
def test_vllm_gets_the_names_that_code_of_transformers_4_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trusts: bool
) -> None:
    """vLLM imports a checkpoint's processor in each of its processes, if its code is trusted."""
    from transformers import processing_utils

    name = "_validate_images_text_input_order"
    had = hasattr(processing_utils, name)
    folder = tmp_path / "model"
    shutil.copytree(MODEL_PATH, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    file = folder / "config.json"
    written = {**json.loads(file.read_text("utf-8")), "transformers_version": "4.50.3"}
    file.write_text(json.dumps(written), "utf-8")
    with earlier_code(VLLMOptions(str(folder), trust_remote_code=trusts), load_config(str(folder))):
        assert os.environ.get(EARLIER_CODE) == ("4.50.3" if trusts else None)
        assert hasattr(processing_utils, name) is (trusts or had)
    assert EARLIER_CODE not in os.environ
    assert hasattr(processing_utils, name) is had
    if trusts:
        # As in a process of vLLM, where the names stay.
        calls: list[str] = []
        monkeypatch.setattr(set_k, "supply_names", lambda: calls.append("supplied"))
        set_k.register()
        assert calls == []
        monkeypatch.setenv(EARLIER_CODE, "4.50.3")
        set_k.register()
        assert calls == ["supplied"]
