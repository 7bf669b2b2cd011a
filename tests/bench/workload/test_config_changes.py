"""Configurations from everywhere, with changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.bench.workload.config_changes import load_changed_config, parse_changes
from moe_eval_plugin.errors import InvalidArgumentError, ModelNotFoundError, UserError
from moe_eval_plugin.testing import tiny_config

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_a_file_and_a_model_type_give_a_configuration(tmp_path: Path) -> None:
    tiny_config(hidden_size=48).save_pretrained(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "mine.json")
    tiny_config(hidden_size=64).save_pretrained(tmp_path)
    assert load_changed_config(str(tmp_path), {}).hidden_size == 64
    assert load_changed_config(str(tmp_path / "mine.json"), {}).hidden_size == 48
    assert load_changed_config("qwen3_moe", {}).model_type == "qwen3_moe"


def test_the_demo_is_a_name_too() -> None:
    assert load_changed_config("demo", {}).model_type == "qwen3_vl_moe"


def test_changes_reach_the_text_part_and_parts_that_are_named() -> None:
    changes = {"hidden_size": 128, "vision_config.depth": 7, "image_token_id": 9}
    config = load_changed_config("demo", changes)
    assert config.text_config.hidden_size == 128
    assert config.vision_config.depth == 7
    assert config.vision_config.hidden_size == 64
    assert config.image_token_id == 9


def test_settings_go_by_all_their_names() -> None:
    # Qwen3-MoE stores the number of experts under another name.
    config = load_changed_config("qwen3_moe", {"num_experts": 64})
    assert config.num_local_experts == 64


@pytest.mark.parametrize("name", ["hiden_size", "vision.depth", "text_config.no_such"])
def test_a_setting_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"config {name} is not a setting"):
        load_changed_config("demo", {name: 1})


def test_values_are_json_or_else_text() -> None:
    items = ["a=512", "b=false", "c=[0, 1]", "d=silu", "e=x=y", "f=null"]
    expected = {"a": 512, "b": False, "c": [0, 1], "d": "silu", "e": "x=y", "f": None}
    assert parse_changes(items) == expected


@pytest.mark.parametrize("items", [["hidden_size"], ["=3"], ["a=1", "a=2"]])
def test_an_item_that_is_no_change_is_refused(items: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"KEY=VALUE|given more than once"):
        parse_changes(items)


@pytest.mark.parametrize("text", ["no json", "[1]", ""])
def test_a_file_that_is_no_configuration_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ModelNotFoundError, match=r"a\.json is not the configuration"):
        load_changed_config(str(tmp_path / "a.json"), {})


def test_a_model_type_that_is_not_known_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"model_type": "no_such"}))
    with pytest.raises(UserError, match="no_such"):
        load_changed_config(str(tmp_path / "a.json"), {})


def test_a_configuration_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    settings = {"model_type": "qwen3_moe", "hidden_size": "wide"}
    (tmp_path / "a.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="does not fit transformers"):
        load_changed_config(str(tmp_path / "a.json"), {})


def test_a_value_that_a_setting_cannot_take_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="hidden_size=wide cannot be set"):
        load_changed_config("qwen3_moe", {"hidden_size": "wide"})
