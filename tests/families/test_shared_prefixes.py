"""Prompts that continue from a computed prefix have the logits of prompts that share nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from moe_eval_plugin.engines.transformers.batches.sharing_limits import reason_of_code
from moe_eval_plugin.engines.transformers.shared.layout import lay_out
from moe_eval_plugin.engines.transformers.shared.prefix import Prefixes
from moe_eval_plugin.models.releases.names import PER_TOKEN

from .contract import CASES, fault_in_transformers, inputs_of, is_missing, model_of
from .tiny_vision import IMAGE

# Positions in one and in three dimensions, with and without an image, latent attention.
SHARING = (
    *("qwen3_vl_moe", "glm4v_moe", "ernie4_5_vl_moe", "llava+mixtral", "kimi_k25"),
    *("qwen3_moe", "deepseek_v3"),
)
NOT_SHARING = ("gpt_oss", "jamba", "gemma4")
SUFFIXES = ([6, 7, 8], [6, 7, 9, 10, 11], [12, 13])
GENERATION = {
    "max_new_tokens": 3,
    "min_new_tokens": 3,
    "do_sample": False,
    "output_logits": True,
    "return_dict_in_generate": True,
}
BY_ID = {case.id: case for case in CASES}


def case_of(name: str) -> Any:
    case = BY_ID[name]
    if is_missing(case) or fault_in_transformers(case):
        pytest.skip(f"{name} cannot be tried in this release of transformers")
    return case


def batch(given: dict[str, Any], rows: list[list[int]]) -> dict[str, Any]:
    """Pad rows of tokens on the left, each with the image of the case."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    kinds = {name: (ids == IMAGE).to(value.dtype) for name, value in given.items() if "ids" in name}
    images = {
        name: value.repeat(len(rows), *[1] * (value.dim() - 1))
        for name, value in given.items()
        if name not in PER_TOKEN
    }
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {**images, **kinds, "input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("name", SHARING)
@torch.inference_mode()
def test_logits_after_a_shared_prefix_are_those_without(name: str) -> None:
    case = case_of(name)
    model, given = model_of(case), inputs_of(case)
    assert reason_of_code(model) is None
    own = given["input_ids"][0].tolist()
    head = own[: max((i for i, token in enumerate(own) if token == IMAGE), default=4) + 1]
    rows = [head + suffix for suffix in SUFFIXES]
    expected = model.generate(**batch(given, rows), **GENERATION).logits
    # The first prompt of the second group is longer, so that the first one is padded.
    firsts = batch(given, [rows[0], rows[1]])
    layout = lay_out(
        [[rows[0], rows[2]], [rows[1]]], [len(head), len(head)], firsts["attention_mask"]
    )
    prefixes = Prefixes.compute(model, firsts, layout)
    found = model.generate(**prefixes.continued(model, layout), **GENERATION).logits
    order = [0, 2, 1]
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one[order], other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NOT_SHARING)
def test_layers_that_keep_something_else_share_nothing(name: str) -> None:
    assert "keep something else" in str(reason_of_code(model_of(case_of(name))))
