"""A k that the code of a layer reads from a constant of its module, and a zero expert at k of 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.trace import NoRouterFoundError
from moe_eval_plugin.experts.verification import verify
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.observe import observe
from tests.families import moe_plus_plus
from tests.families.moe_plus_plus_checkpoint import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from transformers import PreTrainedModel

    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule

IDS = torch.arange(3, 43).view(2, 20)
MOE_LAYERS = (0, 1)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return build()


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def resolve(model: PreTrainedModel, text: str) -> ResolvedSchedule:
    schedule = parse_experts_k(text)
    assert schedule is not None
    return schedule.resolve(describe(model.config), MOE_LAYERS)


def logits(model: PreTrainedModel) -> Tensor:
    found: Tensor = model(IDS).logits
    return found


@pytest.mark.parametrize("k", range(2, 9))
def test_both_uses_of_a_constant_change_as_if_it_were_edited(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    published = logits(model)
    resolved = resolve(model, str(k))
    with apply(model, resolved) as trace, observe(model) as pending:
        overridden = logits(model)
        assert moe_plus_plus.MOE_TOP_K == 2
    assert verify(resolved, 2, pending.result()).observed == k
    assert [(x.path, x.attribute, x.value) for x in trace.accepted] == [
        (f"layers.{layer}.mlp.moe", "MOE_TOP_K", 2) for layer in MOE_LAYERS
    ]
    assert torch.equal(logits(model), published)
    assert torch.equal(overridden, published) == (k == 2)
    monkeypatch.setattr(moe_plus_plus, "MOE_TOP_K", k)
    assert torch.equal(logits(model), overridden)


def test_a_model_beside_it_keeps_its_k(model: PreTrainedModel) -> None:
    beside = build(seed=1)
    published = logits(beside)
    with apply(model, resolve(model, "4")), observe(model) as pending:
        logits(model)
        assert torch.equal(logits(beside), published)
        with apply(beside, resolve(beside, "3")), observe(beside) as pending_beside:
            logits(beside)
            logits(model)
    assert pending.result().distinct_k() == (4,)
    assert pending_beside.result().distinct_k() == (3,)


def test_each_layer_has_a_k_of_its_own(model: PreTrainedModel) -> None:
    resolved = resolve(model, "0:1/1:5")
    with apply(model, resolved), observe(model) as pending:
        logits(model)
    assert list(pending.result().by_layer().values()) == [{1: 40}, {5: 40}]
    assert verify(resolved, 2, pending.result()).observed == 3


def test_the_constant_is_restored_where_a_layer_fails(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with apply(model, resolve(model, "4")):
        monkeypatch.setattr(moe_plus_plus, "choose", None)
        with pytest.raises(TypeError):
            logits(model)
        assert moe_plus_plus.MOE_TOP_K == 2
        monkeypatch.undo()
        with observe(model) as pending:
            logits(model)
    assert pending.result().distinct_k() == (4,)


def test_a_constant_that_is_not_the_published_k_is_refused(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moe_plus_plus, "MOE_TOP_K", 3)
    refused = pytest.raises(NoRouterFoundError, match="it holds 3, which is not the model's k of 2")
    with refused, apply(model, resolve(model, "4")):
        pass


def test_at_a_k_of_one_the_zero_expert_adds_nothing_and_others_compute_as_written(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the code is, its 0 by 0 makes NaN of whatever follows such a token."""
    layer = model.layers[0].mlp
    hidden = torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(0))
    with apply(model, resolve(model, "1")), observe(model) as pending:
        at_one, scores = layer(hidden.clone())
        assert logits(model).isfinite().all()
    monkeypatch.setattr(moe_plus_plus, "MOE_TOP_K", 1)
    as_written, _ = layer(hidden.clone())
    took_zero = scores.argmax(-1) == 11
    assert 0 < took_zero.sum() < 64
    assert (at_one[0, took_zero] == 0).all()
    assert as_written[0, took_zero].isnan().all()
    assert torch.equal(at_one[0, ~took_zero], as_written[0, ~took_zero])
    assert logits(model).isnan().any()
    assert pending.result().distinct_k() == (1,)


def test_weights_that_are_no_numbers_stay_so(model: PreTrainedModel) -> None:
    """A broken weight makes NaN at each expert; only that of the zero expert is replaced."""
    with apply(model, resolve(model, "2")):
        chosen, _ = model.layers[0].mlp.moe.gate(torch.full((3, 32), torch.nan), None)
    assert all(weights.isnan().all() for e, (_, weights) in chosen.items() if e != 11)
