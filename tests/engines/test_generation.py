"""Generation arguments of tasks, and what is used of a checkpoint's own settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from transformers import GenerationConfig

from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.engines.generation import (
    TOKENS,
    WITHOUT_EFFECT,
    end_tokens,
    read_settings,
    sort_checkpoint_settings,
)
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.models.demo import MODEL_PATH

if TYPE_CHECKING:
    from pathlib import Path

USED = {*TOKENS, "repetition_penalty"}


@pytest.mark.parametrize(
    ("given", "samples"),
    [
        ({}, False),
        ({"temperature": 0}, False),
        ({"temperature": 0.7}, True),
        ({"temperature": 0.7, "do_sample": False}, False),
        ({"do_sample": True}, True),
        ({"do_sample": "true"}, True),
        ({"do_sample": "no", "temperature": 1}, False),
        ({"do_sample": False, "top_p": 0, "temperature": 0.0}, False),
    ],
)
def test_answers_are_sampled_where_that_is_asked_for(
    given: dict[str, Any], *, samples: bool
) -> None:
    arguments = read_settings(given, 16).arguments
    assert arguments["do_sample"] is samples
    assert samples or arguments["temperature"] is arguments["top_p"] is None


@pytest.mark.parametrize(
    "given",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": 16.5},
        {"max_new_tokens": "many"},
        {"min_new_tokens": 17},
        {"num_beams": 0},
        {"temperature": "hot"},
        {"temperature": -1},
        {"do_sample": "perhaps"},
        {"do_sample": True, "temperature": 0},
        {"top_p": 0, "do_sample": True},
        {"top_p": 1.5},
        {"top_k": 2.5},
        {"repetition_penalty": 0},
        {"until": 7},
        {"until": ["a", 7]},
        {"until": "[7]"},
    ],
)
def test_a_value_that_an_argument_cannot_have_is_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(given))):
        read_settings(given, 16)


@pytest.mark.parametrize(
    ("until", "strings"),
    [
        (None, ()),
        ("", ()),
        ([], ()),
        ("\n", ("\n",)),
        (["a", ""], ("a",)),
        ('["a", "b"]', ("a", "b")),
    ],
)
def test_stop_strings_may_be_one_or_a_list(until: Any, strings: tuple[str, ...]) -> None:
    assert read_settings({"until": until}, 16).until == strings


def test_each_setting_of_a_checkpoint_is_used_ignored_or_without_effect() -> None:
    names = set(vars(GenerationConfig())) - {"transformers_version", "_from_model_config"}
    found = sort_checkpoint_settings(dict.fromkeys(names, 7))
    assert set(found.to_dict()["used"]) == USED
    assert set(found.ignored) == names - USED - WITHOUT_EFFECT
    assert {"num_beams", "min_new_tokens", "stop_strings", "num_return_sequences"} < set(
        found.ignored
    )


def test_settings_that_change_nothing_are_not_ignored() -> None:
    neutral = {"num_beams": 1, "top_p": 1.0, "min_new_tokens": 0, "bad_words_ids": None}
    assert sort_checkpoint_settings(neutral).to_dict() == {
        "used": {"repetition_penalty": 1.0},
        "ignored": {},
    }


def test_answers_end_with_the_tokens_of_checkpoint_and_tokenizer() -> None:
    assert end_tokens(sort_checkpoint_settings({"eos_token_id": [5, 2]}), 2) == [5, 2]
    assert end_tokens(sort_checkpoint_settings({"eos_token_id": 0}), 2) == [0, 2]
    assert end_tokens(sort_checkpoint_settings({}), None) == []


@pytest.mark.parametrize(
    "text",
    [
        "{broken",
        "[]",
        '{"num_return_sequences": 2}',
        '{"eos_token_id": "end"}',
        '{"repetition_penalty": -1}',
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_configuration(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "config.json").write_bytes((MODEL_PATH / "config.json").read_bytes())
    ModelConfig.load(EngineOptions(str(tmp_path)))
    (tmp_path / "generation_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"generation_config.json of .* cannot be used"):
        ModelConfig.load(EngineOptions(str(tmp_path)))
    content = {"do_sample": True, "num_return_sequences": 2}
    (tmp_path / "generation_config.json").write_text(json.dumps(content), encoding="utf-8")
    ModelConfig.load(EngineOptions(str(tmp_path)))
