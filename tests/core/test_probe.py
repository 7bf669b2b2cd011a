"""The probe counts distinct experts per token, by modality, and leaves nothing behind."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin import probe
from moe_eval_plugin.testing import tiny_moe


class FakeMoE(torch.nn.Module):
    """Hands a prepared choice to its experts, as a router does."""

    class TinyExperts(torch.nn.Module):
        num_experts = 6

        def forward(self, hidden: torch.Tensor, _index: torch.Tensor) -> torch.Tensor:
            return hidden

    def __init__(self) -> None:
        super().__init__()
        self.experts = self.TinyExperts()
        self.config = type("Config", (), {"image_token_id": 9})()

    def forward(
        self,
        input_ids: torch.Tensor,
        choice: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert attention_mask is None or attention_mask.dim() == 2
        return self.experts(torch.zeros(input_ids.numel(), 2), choice)


rows = st.lists(st.lists(st.integers(-1, 7), min_size=3, max_size=3), min_size=1, max_size=12)


@settings(deadline=None, max_examples=50)
@given(choices=rows)
def test_distinct_experts_are_counted_as_a_set_does(choices: list[list[int]]) -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
        model(
            input_ids=torch.zeros(1, len(choices), dtype=torch.long), choice=torch.tensor(choices)
        )
    expected: dict[int, int] = {}
    for row in choices:
        k = len({expert for expert in row if 0 <= expert < 6})
        expected[k] = expected.get(k, 0) + 1
    assert pending.result().by_layer() == {"experts": expected}


def test_image_text_and_padding_are_kept_apart() -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
        model(
            input_ids=torch.tensor([[0, 9, 9, 5]]),
            attention_mask=torch.tensor([[0, 1, 1, 1]]),
            choice=torch.tensor([[1, 1], [1, 2], [3, 3], [4, 5]]),
        )
    observation = pending.result()
    assert observation.histograms["experts"] == {
        "text": {2: 1},
        "image": {1: 1, 2: 1},
        "padding": {1: 1},
    }
    assert observation.distinct_k() == (1, 2)
    assert observation.mean_k() == pytest.approx(5 / 3)
    assert observation.n_tokens("image") == 2


def test_passes_with_different_k_add_up() -> None:
    model = FakeMoE()
    ids = torch.zeros(1, 1, dtype=torch.long)
    with probe.observe(model) as pending:
        model(input_ids=ids, choice=torch.tensor([[1, 2, 3]]))
        model(input_ids=ids, choice=torch.tensor([[1]]))
    assert pending.result().by_layer() == {"experts": {3: 1, 1: 1}}


def test_decode_steps_use_the_end_of_the_mask() -> None:
    model = FakeMoE()
    with probe.observe(model) as pending:
        model(
            input_ids=torch.tensor([[5]]),
            attention_mask=torch.tensor([[0, 1, 1]]),
            choice=torch.tensor([[1, 2]]),
        )
    assert pending.result().n_tokens("text") == 1


def test_hooks_are_gone_afterwards_even_after_an_error() -> None:
    model = tiny_moe()
    with pytest.raises(RuntimeError), probe.observe(model):
        raise RuntimeError
    modules = [model, *probe.find_experts(model).values()]
    assert not any(module._forward_pre_hooks for module in modules)


def test_every_moe_layer_is_found_and_shared_experts_are_not() -> None:
    model = tiny_moe("deepseek_v2", n_routed_experts=8, n_shared_experts=1, first_k_dense_replace=1)
    assert list(probe.find_experts(model)) == [f"model.layers.{i}.mlp.experts" for i in (1, 2)]
