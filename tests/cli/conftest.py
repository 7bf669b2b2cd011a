from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from transformers import Qwen3MoeConfig

from tests.cli.programs import moe_eval
from tests.experts.schedules.tuned_files import write_file
from tests.sweeps.sweeps import sweep_arguments

if TYPE_CHECKING:
    from pathlib import Path

KS = ("--experts-k", "8", "1")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a real sweep, beside the sweep."""
    folder = tmp_path_factory.mktemp("published")
    file = write_file(folder, "tuned-0.5", k="0-1:3/2-3:1")
    run = moe_eval(*sweep_arguments(folder / "sweep", *KS, file))
    assert run.returncode == 0, run.stderr
    (folder / "tuned-0.5.yaml").unlink()
    packed = moe_eval("bundle", "sweep", cwd=folder)
    assert packed.returncode == 0, packed.stderr
    assert packed.stdout.startswith("sweep.tar.gz: 3 settings")
    return folder / "sweep.tar.gz"


@pytest.fixture
def model(tmp_path: Path) -> str:
    Qwen3MoeConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        moe_intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_experts=8,
        num_experts_per_tok=4,
    ).save_pretrained(tmp_path)
    return str(tmp_path)
