"""MoE++ from a folder that brings its code, which was written for transformers 4.31."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.loading import CheckedLoader
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.models.inspection.report import inspect_model
from tests.families.moe_plus_plus_checkpoint import save

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.experts.verification import VerifiedOverride

TEXTS = ("What color is the shape?", "How many shapes are there? Answer in a word.")
IDS = torch.arange(3, 43).view(2, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("moe_plus_plus") / "model")


def load(folder: Path, k: object = None) -> HFEngine:
    return HFEngine(EngineOptions(str(folder), experts_k=k, trust_remote_code=True, device="cpu"))


def verified(engine: HFEngine) -> VerifiedOverride:
    asked = [[{"role": "user", "content": [{"type": "text", "text": text}]}] for text in TEXTS]
    return engine.verify(asked)


def generated(model: Any, **options: Any) -> torch.Tensor:
    mask = torch.ones_like(IDS)
    mask[0, :4] = 0
    found: torch.Tensor = model.generate(
        IDS, attention_mask=mask, max_new_tokens=6, do_sample=False, pad_token_id=0, **options
    )
    return found


def test_a_changed_k_answers_as_a_checkpoint_whose_constant_was_edited(
    folder: Path, tmp_path: Path
) -> None:
    engine, edited = load(folder, 5), load(save(tmp_path / "edited", k=5))
    seen = verified(engine)
    assert (seen.observed, seen.n_layers) == (5, 2)
    assert torch.equal(generated(engine.model), generated(edited.model))
    beside = load(folder)
    assert verified(beside).observed == 2
    assert not torch.equal(generated(engine.model), generated(beside.model))


def test_a_cache_of_tuples_gives_the_answers_without_one(folder: Path) -> None:
    model = load(folder).model
    assert torch.equal(generated(model), generated(model, use_cache=False))


@pytest.mark.parametrize("k", [1, "prefill:2/decode:1", "0:1/1:3"])
def test_a_k_of_one_answers_in_numbers_and_has_its_ffn_k(folder: Path, k: object) -> None:
    """``verify`` refuses a model whose logits are NaN."""
    engine = load(folder, k)
    use = verified(engine).ffn_use
    assert use is not None
    assert 0 < use.mean < use.selected
    assert sum(use.shares.values()) == pytest.approx(1)
    assert list(use.shares) == ["ffn", "constant", "copy", "zero"]


def test_a_host_that_loads_a_model_itself_gets_one_that_runs(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    loader = CheckedLoader(AutoModelForCausalLM)
    model = loader.from_pretrained(str(folder), revision="main", trust_remote_code=True)
    assert torch.equal(generated(model), generated(load(folder).model))


def test_inspect_counts_only_experts_that_compute(folder: Path) -> None:
    report = inspect_model(str(folder), trust_remote_code=True)
    assert report.zero_expert_kinds == {"constant": 2, "copy": 1, "zero": 1}
    per_expert = 2 * 32 * 24
    assert report.routed_parameters == 2 * 8 * per_expert
    assert {x.parameters_per_expert for x in report.expert_modules} == {per_expert}
    assert [cost.num_experts_per_tok for cost in report.costs] == [1, 2, 4, 8]
    rest = (report.total_parameters or 0) - 2 * 8 * per_expert
    assert [cost.active_parameters for cost in report.costs[:2]] == [
        rest + 2 * per_expert,
        rest + 4 * per_expert,
    ]
