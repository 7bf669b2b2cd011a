from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.override.observe import observe
from tests.override.fake_moe import NUM_EXPERTS, FakeMoE, ids

rows = st.lists(
    st.lists(st.integers(-1, NUM_EXPERTS + 1), min_size=3, max_size=3), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=50)
@given(passes=st.lists(rows, min_size=1, max_size=4))
def test_counts_are_those_of_sets(passes: list[list[list[int]]]) -> None:
    model = FakeMoE()
    with observe(model) as pending:
        for choices in passes:
            model(input_ids=ids(*([5] * len(choices))), choice=torch.tensor(choices))
    used = [[{e for e in row if 0 <= e < NUM_EXPERTS} for row in choices] for choices in passes]
    histogram: dict[int, int] = {}
    for experts in (experts for of_pass in used for experts in of_pass):
        histogram[len(experts)] = histogram.get(len(experts), 0) + 1
    observation = pending.result()
    layer = observation.layers["experts"]
    assert observation.by_layer() == {"experts": histogram}
    everything = [expert for of_pass in used for experts in of_pass for expert in experts]
    assert layer.load == tuple(everything.count(expert) for expert in range(NUM_EXPERTS))
    distinct = [len(set().union(*of_pass)) for of_pass in used]
    step = layer.distinct_per_step("prefill")
    assert step is not None
    assert step[1:] == (len(passes), sum(distinct), min(distinct), max(distinct))
    assert layer.distinct_per_step("decode") is None


def test_passes_with_different_k_add_up() -> None:
    model = FakeMoE()
    with observe(model) as pending:
        model(input_ids=ids(5), choice=torch.tensor([[1, 2, 3]]))
        model(input_ids=ids(5), choice=torch.tensor([[1]]))
    assert pending.result().by_layer() == {"experts": {3: 1, 1: 1}}


def test_a_pass_without_rows_for_a_layer_is_no_step_of_it() -> None:
    model = FakeMoE()
    with observe(model) as pending:
        model(input_ids=ids(5), choice=torch.empty(0, 2, dtype=torch.long))
    assert pending.result().layers["experts"].steps == ()


def test_counting_never_waits_for_the_device() -> None:
    """A tensor on the meta device has no values: whoever reads one gets an error."""
    for model in (FakeMoE(), FakeMoE("vision_moe"), FakeMoE("text_moe")):
        with torch.device("meta"), observe(model) as pending:
            tokens, index = (torch.empty(1, 4, dtype=torch.long), torch.empty(4, 3).long())
            mask = torch.ones_like(tokens)
            model(tokens, index, attention_mask=mask)
            model(tokens, index[:2], attention_mask=mask)
        with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
            pending.result()


def test_tables_do_not_grow_with_tokens() -> None:
    model = FakeMoE()
    with observe(model) as pending:
        sizes = []
        for n_tokens in (1, 1000):
            model(ids(*([5] * n_tokens)), torch.zeros(n_tokens, 4, dtype=torch.long))
            (counter,) = pending._counters
            sizes.append([table.numel() for table in vars(counter._tables).values()])
    assert sizes[0] == sizes[1]
