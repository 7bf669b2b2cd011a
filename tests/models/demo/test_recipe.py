"""The recipe is the one that the shipped model was made by."""

from __future__ import annotations

from transformers import AutoConfig, AutoProcessor

from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.models.demo.dataset import tokenizer_texts
from moe_eval_plugin.models.demo.recipe import Recipe, build_model, build_processor


def test_the_shipped_tokenizer_is_the_one_that_the_script_learns() -> None:
    recipe = Recipe()
    learned = build_processor(recipe, tokenizer_texts(recipe.seed)).tokenizer
    shipped = AutoProcessor.from_pretrained(MODEL_PATH).tokenizer
    assert shipped.get_vocab() == learned.get_vocab()
    assert shipped.chat_template == learned.chat_template


def test_the_shipped_configuration_is_the_one_that_the_recipe_builds() -> None:
    built = build_model(Recipe(), AutoProcessor.from_pretrained(MODEL_PATH)).config
    shipped = AutoConfig.from_pretrained(MODEL_PATH)
    for part in ("text_config", "vision_config"):
        expected, found = (getattr(config, part).to_dict() for config in (shipped, built))
        changed = {key for key in expected if expected[key] != found.get(key)}
        assert changed <= {"dtype"}
