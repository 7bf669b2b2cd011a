"""Prices are what the tokens of the prompts cost, by layer, and by modality and phase."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.models.costs.cost_model import AttentionShape, LanguageModelCost, RoutedLayer
from moe_eval_plugin.tuning.calibration import CalibrationPrompts, PromptBatch
from moe_eval_plugin.tuning.cells import Cell, cells_of
from moe_eval_plugin.tuning.prices.counted import expert_prices, flop_prices
from moe_eval_plugin.tuning.prices.lengths import PromptLengths, prompt_lengths

IMAGE = 99
LENGTHS = PromptLengths(text=np.array([5, 3]), image=np.array([10, 0]), decoded=np.array([0, 2]))
COST = LanguageModelCost(
    matrix_parameters=1000,
    head_parameters=200,
    routed_layers=(RoutedLayer(8, 100), RoutedLayer(8, 300)),
    attentions=(AttentionShape(32, 32, 16),),
)


def test_tokens_are_counted_by_kind_without_padding() -> None:
    ids = torch.tensor([[0, 7, IMAGE, IMAGE, 8, 5, 6], [IMAGE, 0, 0, 7, 8, 5, 0]])
    mask = torch.tensor([[0, 1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 0]])
    answers = torch.tensor([[5, 6, 4], [5, 6, -1]])
    batch = PromptBatch({"input_ids": ids, "attention_mask": mask}, 5, answers)
    prompts = CalibrationPrompts([batch, batch], ())
    found = prompt_lengths(prompts, SimpleNamespace(image_token_id=IMAGE))
    assert found.text.tolist() == [2, 2, 2, 2]
    assert found.image.tolist() == [2, 0, 2, 0]
    assert found.decoded.tolist() == [2, 1, 2, 1]
    assert found.of_cell(Cell(0)) == 18


def test_experts_weigh_as_much_as_they_have_tokens() -> None:
    prices = expert_prices(cells_of([0, 1], "modality"), (1, 2), 4, LENGTHS)
    choice = {cell: 2 if cell.modality == "image" else 4 for cell in prices.cells}
    # 10 text tokens and 10 image tokens.
    assert prices.share(choice) == pytest.approx(0.75)
    assert prices.least == 0.25
    by_layer = expert_prices(cells_of([0, 1], "layer"), (1, 2), 4, LENGTHS)
    assert by_layer.share({Cell(0): 1, Cell(1): 4}) == pytest.approx(5 / 8)
    assert (by_layer.uniform_k(0.5), by_layer.uniform_k(0.3)) == (2, 1)
    by_phase = expert_prices(cells_of([0, 1], "phase"), (1, 2), 4, LENGTHS)
    choice = {cell: 2 if cell.phase == "decode" else 4 for cell in by_phase.cells}
    assert by_phase.share(choice) == pytest.approx((18 * 4 + 2 * 2) / (20 * 4))


@pytest.mark.parametrize("by", ["layer", "modality", "phase"])
def test_flops_are_those_of_the_cost_model_for_these_lengths(by: str) -> None:
    prices = flop_prices([3, 5], cells_of([3, 5], by), (1, 2), 4, LENGTHS, COST)  # type: ignore[arg-type]
    for k in (1, 2, 4):
        expected = 0.0
        for n, decoded in ((15, 0), (3, 2)):
            expected += n * COST.prefill_flops(k, n).total
            expected += sum(COST.decode_flops(k, n + i + 1).total for i in range(decoded))
        steps = prices.fixed + prices.steps(prices.uniform(k))
        assert steps * prices.step == pytest.approx(expected)
    if by == "layer":
        choice = {Cell(3): 4, Cell(5): 1}
        spared = COST.prefill_flops((4, 4), 10).total - COST.prefill_flops((4, 1), 10).total
        total = prices.published * prices.step
        assert 1 - prices.share(choice) == pytest.approx(spared * LENGTHS.of_cell(Cell(0)) / total)


def test_a_target_is_met_to_its_last_digit_and_the_least_possible_one_is_named() -> None:
    prices = flop_prices([0, 1], cells_of([0, 1], "layer"), (1, 2), 4, LENGTHS, COST)
    assert prices.least > 0.25
    with pytest.raises(InvalidArgumentError, match="does not depend on k") as error:
        prices.budget(0.25)
    least = float(str(error.value).split("Use ")[1].split()[0])
    assert prices.steps(prices.uniform(1)) <= prices.budget(least)
    thirds = expert_prices(cells_of([0], "layer"), (1, 2), 3, LENGTHS)
    assert [thirds.uniform_k(one) for one in (0.6666, 0.6667, 0.3334)] == [1, 2, 1]


def test_what_the_prompts_do_not_have_cannot_be_priced() -> None:
    text = PromptLengths(np.array([5]), np.array([0]), np.array([0]))
    with pytest.raises(InvalidArgumentError, match="no image tokens"):
        expert_prices(cells_of([0], "modality"), (1,), 2, text)
    with pytest.raises(InvalidArgumentError, match="answers have one token"):
        expert_prices(cells_of([0], "phase"), (1,), 2, text)
    with pytest.raises(DataError, match="2 layers with experts, and the model 1"):
        flop_prices([0], cells_of([0], "layer"), (1,), 2, text, COST)
