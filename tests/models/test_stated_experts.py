"""What the text of a configuration states is what transformers reads from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import ModelNotFoundError
from moe_eval_plugin.models.checkpoint import load_config
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.stated_experts import is_text_only, stated_experts

if TYPE_CHECKING:
    from pathlib import Path

MIXTRAL = {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
DEEPSEEK = {
    "model_type": "deepseek_v2",
    "n_routed_experts": 64,
    "num_experts_per_tok": 6,
    "n_shared_experts": 1,
    "n_group": 1,
}
QWEN = {"model_type": "qwen3_moe", "num_experts": 16, "num_experts_per_tok": 4}


def write(folder: Path, config: object) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    ("config", "is_text"),
    [
        ({"model_type": "olmoe"}, True),
        ({"model_type": "qwen3_vl_moe", "vision_config": {}}, False),
    ],
)
def test_a_model_of_text_has_no_part_for_images(
    tmp_path: Path, config: dict[str, object], is_text: bool
) -> None:
    assert is_text_only(write(tmp_path, config)) == is_text
    assert not is_text_only("demo")
    assert not is_text_only("an-owner/that-is-not-in-the-cache")


@pytest.mark.parametrize("config", [MIXTRAL, DEEPSEEK, {**QWEN, "norm_topk_prob": True}])
def test_a_text_that_states_all_is_enough(tmp_path: Path, config: dict[str, object]) -> None:
    folder = write(tmp_path, config)
    stated = stated_experts(folder)
    assert stated is not None
    assert stated == describe(load_config(folder))


def test_the_demo_is_described_without_transformers() -> None:
    assert stated_experts("demo") == describe(load_config("demo"))


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "mixtral"},
        {"model_type": "mixtral", "num_local_experts": 8},
        {**DEEPSEEK, "n_group": 8, "topk_group": 3},
        {**DEEPSEEK, "n_group": None, "n_shared_experts": "two", "num_experts_per_tok": None},
        {key: value for key, value in DEEPSEEK.items() if key != "n_shared_experts"},
        QWEN,
        {**MIXTRAL, "model_type": "nobody_knows_this"},
        {**MIXTRAL, "num_experts_per_tok": 9},
        {"model_type": "qwen3_vl_moe", "text_config": 3},
        {"model_type": "llama"},
        [],
    ],
)
def test_a_text_that_leaves_something_to_be_guessed_is_not(tmp_path: Path, config: object) -> None:
    assert stated_experts(write(tmp_path, config)) is None


@pytest.mark.usefixtures("fake_hub")
def test_a_model_that_the_hub_does_not_have_is_refused() -> None:
    with pytest.raises(ModelNotFoundError, match="the Hub has no such model"):
        stated_experts("some/thing")
