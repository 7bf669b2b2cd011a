"""Tiny models as calibration has them, and prompts with answers, built by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.engines.transformers.model_at_k import ModelAtK
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.tuning.calibration import CalibrationPrompts, PromptBatch
from moe_eval_plugin.tuning.prompts.batches import prompt_batch
from tests.families.contract import CASES, fault_in_transformers, inputs_of, is_missing, model_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

# Answers of one and of three tokens: the first is padded on the right.
ANSWERS = ((22,), (20, 21, 23))
BY_ID = {case.id: case for case in CASES}


@dataclass(frozen=True)
class Loaded:
    """A model as a ``CalibrationModel``."""

    module: nn.Module
    at_k: ModelAtK
    config: ModelConfig


def loaded(module: Any) -> Loaded:
    config = ModelConfig(
        "tiny",
        None,
        trust_remote_code=False,
        config=module.config,
        description=describe(module.config),
    )
    return Loaded(module, ModelAtK(module, config.request(None), "tiny"), config)


def family(name: str) -> tuple[Loaded, PromptBatch]:
    """Return the tiny model of a family, and two prompts for it, with its picture if it has one."""
    case = BY_ID[name]
    if is_missing(case) or fault_in_transformers(case):
        pytest.skip(f"{name} cannot be tried in this release of transformers")
    model = loaded(model_of(case))
    return model, with_answers(model, inputs_of(case))


def with_answers(
    model: Loaded, given: dict[str, Any], answers: Sequence[Sequence[int]] = ANSWERS
) -> PromptBatch:
    """Put a prompt before each answer; in the second row it is padded on the left."""
    rows = len(answers)
    inputs = {name: one.repeat(rows, *[1] * (one.dim() - 1)) for name, one in given.items()}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    for name in ("attention_mask", "input_ids"):
        inputs[name][1:, :2] = 0
    return prompt_batch(model.module, inputs, answers)


def prompts(*batches: PromptBatch) -> CalibrationPrompts:
    return CalibrationPrompts(batches, ())


class Counting:
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0

    def doing(self, what: str) -> None:
        """Begin nothing."""

    def counting(self, _what: str, total: int, _unit: str) -> None:
        self.total += total

    def advance(self, n: int = 1) -> None:
        self.done += n
