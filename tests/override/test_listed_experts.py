"""The choice among experts in a list is observed, and checked against the rows of each expert."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule, constant_schedule
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError, verify
from moe_eval_plugin.override.observe import observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from moe_eval_plugin.experts.observation import Observation

E, HIDDEN, TOKENS = 6, 8, torch.arange(2, 26).reshape(2, 12)


class Gate(nn.Module):
    """A gate that returns indices and weights, as that of DeepSeek-V3 does, and reads its k."""

    def __init__(self) -> None:
        super().__init__()
        self.top_k = 2
        self.weight = nn.Parameter(torch.randn(E, HIDDEN))

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return indices and weights (tokens, k), and a loss that there is none of."""
        scores = (hidden.flatten(end_dim=-2) @ self.weight.T).softmax(-1)
        weights, indices = torch.topk(scores, self.top_k, sorted=False)
        return indices, weights, None


class SparseWeights(Gate):
    """A gate that returns a matrix of weights, 0 where an expert was not chosen."""

    def forward(self, hidden: Tensor) -> tuple[Tensor]:
        """Return the weights, (tokens, experts)."""
        indices, weights, _ = super().forward(hidden)
        return (weights.new_zeros(len(weights), E).scatter(1, indices, weights),)


def by_gate(block: Block, hidden: Tensor) -> Tensor:
    indices: Tensor = block.gate(hidden)[0]
    return indices


def by_sparse_weights(block: Block, hidden: Tensor) -> Tensor:
    return (block.gate(hidden)[0] > 0).nonzero()[:, 1].view(-1, block.gate.top_k)


def by_topk(block: Block, hidden: Tensor) -> Tensor:
    """Choose the largest logits in the block, as Mixtral did before transformers 5."""
    return (hidden.flatten(end_dim=-2) @ block.gate.weight.T).topk(block.gate.top_k).indices


def by_sort(block: Block, hidden: Tensor) -> Tensor:
    logits = hidden.flatten(end_dim=-2) @ block.gate.weight.T
    return logits.sort(descending=True).indices[:, : block.gate.top_k]


def by_cat(block: Block, hidden: Tensor) -> Tensor:
    """Choose one after the other, as the code of Phi-3.5-MoE does."""
    logits = hidden.flatten(end_dim=-2) @ block.gate.weight.T
    columns = []
    for _ in range(block.gate.top_k):
        columns.append(logits.max(-1, keepdim=True).indices)
        logits = logits.scatter(1, columns[-1], float("-inf"))
    return torch.cat(columns, -1)


def by_a_kernel(block: Block, hidden: Tensor) -> Tensor:
    """Choose outside of torch, as a kernel of a package of its own does."""
    logits = (hidden.flatten(end_dim=-2) @ block.gate.weight.T).tolist()
    chosen = [sorted(range(E), key=row.__getitem__)[-block.gate.top_k :] for row in logits]
    with torch._C.DisableTorchFunction():
        return torch.tensor(chosen)


class Block(nn.Module):
    """Calls each expert with the rows routed to it."""

    def __init__(self, choose: Callable[[Block, Tensor], Tensor]) -> None:
        super().__init__()
        self.gate = SparseWeights() if choose is by_sparse_weights else Gate()
        self.experts = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(E))
        self.shared_experts = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(2))
        self.choose = choose
        self.is_sending_all = False
        self.capacity = 99

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the sum of the experts' outputs."""
        chosen, flat = self.choose(self, hidden), hidden.flatten(end_dim=-2)
        out = sum(expert(flat) for expert in self.shared_experts)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).any(-1)
            rows &= rows.cumsum(0) <= self.capacity
            if self.is_sending_all:
                out = out + expert(flat) * rows[:, None]
            elif rows.any():
                out[rows] += expert(flat[rows])
        return out.view_as(hidden)


class Model(nn.Module):
    """One block after an embedding."""

    def __init__(self, choose: Callable[[Block, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.mlp = nn.Embedding(32, HIDDEN), Block(choose)

    @torch.no_grad()
    def observed(self, tokens: Tensor = TOKENS) -> Observation:
        """Return the observation of one pass over some tokens."""
        with observe(self) as pending:
            self(input_ids=tokens)
        return pending.result()

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return hidden states."""
        hidden: Tensor = self.mlp(self.embed(input_ids))
        return hidden


@pytest.mark.parametrize("choose", [by_gate, by_sparse_weights, by_topk, by_sort, by_cat])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_each_token_s_experts_are_observed(
    choose: Callable[[Block, Tensor], Tensor], k: int
) -> None:
    model = Model(choose)
    model.mlp.gate.top_k = k
    observation = model.observed()
    assert observation.by_layer() == {"mlp.experts": {k: 24}}
    chosen = choose(model.mlp, model.embed(TOKENS))
    load = torch.bincount(chosen.flatten(), minlength=E)
    assert observation.layers["mlp.experts"].load == tuple(load.tolist())
    assert model.observed(TOKENS[:1, :1]).by_layer() == {"mlp.experts": {k: 1}}


def test_nothing_is_observed_where_nothing_shows_the_choice() -> None:
    assert Model(by_a_kernel).observed().by_layer() == {"mlp.experts": {}}


def test_a_choice_that_the_experts_do_not_follow_is_not_believed() -> None:
    model = Model(by_gate)
    model.mlp.is_sending_all = True
    assert model.observed().by_layer() == {"mlp.experts": {}}
    model.mlp.is_sending_all = False
    model.mlp.capacity = 3
    assert model.observed().by_layer() == {"mlp.experts": {}}


def test_no_hook_and_no_mode_remains_after_an_error() -> None:
    model = Model(by_gate)
    original = model.mlp.choose

    def fail(_block: Block, _hidden: Tensor) -> Tensor:
        message = "full"
        raise MemoryError(message)

    model.mlp.choose = fail
    with observe(model) as pending:
        with pytest.raises(MemoryError):
            model(input_ids=TOKENS)
        model.mlp.choose = original
        model(input_ids=TOKENS)
    assert pending.result().by_layer() == {"mlp.experts": {2: 24}}
    assert not any(module._forward_hooks for module in model.modules())
    assert not torch.overrides._get_current_function_mode_stack()


def test_what_was_not_seen_is_not_called_another_number_of_experts() -> None:
    resolved = ResolvedSchedule(
        constant_schedule(2),
        {(None, m, p): 2 for m in ("text", "image") for p in ("prefill", "decode")},
    )
    with pytest.raises(OverrideNotEffectiveError, match="cannot be observed in 1 of 1") as failed:
        verify(resolved, 2, Model(by_a_kernel).observed())
    assert "do not use" not in str(failed.value)
    model = Model(by_gate)
    model.mlp.gate.top_k = 3
    with pytest.raises(OverrideNotEffectiveError, match="do not use the requested number"):
        verify(resolved, 2, model.observed())
