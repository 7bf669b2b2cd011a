"""The embedded model and its card: small, stock, and as accurate as it says."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    Qwen3VLMoeForConditionalGeneration,
    Qwen3VLProcessor,
)

from benchmarks import demo_card as card
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.models.demo.recipe import Recipe
from moe_eval_plugin.models.families import describe

MAX_BYTES = 8 * 1024**2


@pytest.fixture(scope="module")
def accuracy() -> dict[int, float]:
    rows = read(card.ACCURACY_FILE)["rows"]
    assert all(row["observed_num_experts_per_tok"] == row["num_experts_per_tok"] for row in rows)
    assert all(row["n_samples"] == 9673 for row in rows)
    return {row["num_experts_per_tok"]: row["exact_match"] for row in rows}


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((MODEL_PATH / name).read_text(encoding="utf-8"))
    return content


def test_it_is_small_and_has_no_code_of_its_own() -> None:
    assert sum(path.stat().st_size for path in MODEL_PATH.iterdir()) <= MAX_BYTES
    assert not list(MODEL_PATH.glob("*.py"))


def test_stock_classes_load_it_completely() -> None:
    model, report = AutoModelForImageTextToText.from_pretrained(
        MODEL_PATH, output_loading_info=True
    )
    assert type(model) is Qwen3VLMoeForConditionalGeneration
    assert type(AutoProcessor.from_pretrained(MODEL_PATH)) is Qwen3VLProcessor
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_its_experts_are_those_of_the_recipe() -> None:
    found = describe(AutoConfig.from_pretrained(MODEL_PATH))
    assert (found.num_experts, found.num_experts_per_tok) == (32, 8)
    assert read(card.TRAINING_FILE)["recipe"] == asdict(Recipe())


def test_a_transposed_weight_cannot_be_mistaken_for_a_right_one() -> None:
    text = AutoConfig.from_pretrained(MODEL_PATH).text_config
    assert text.hidden_size not in {text.moe_intermediate_size, 2 * text.moe_intermediate_size}
    assert text.hidden_size % 32 == 0


def test_it_was_measured_at_every_k_and_answers_most_questions(
    accuracy: dict[int, float],
) -> None:
    assert sorted(accuracy) == list(range(1, 9))
    assert accuracy[8] >= 0.95


def test_fewer_experts_cost_accuracy_step_by_step(accuracy: dict[int, float]) -> None:
    assert accuracy[8] - accuracy[2] > 0.005
    assert accuracy[8] - accuracy[1] >= 0.05


def test_the_card_shows_the_recorded_figures() -> None:
    written = (MODEL_PATH / card.CARD_FILE).read_text(encoding="utf-8")
    parameters = card.count_parameters(MODEL_PATH)
    assert written == card.render(read(card.TRAINING_FILE), read(card.ACCURACY_FILE), parameters)
