"""The schedule of a choice sets exactly the k of each cell."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.experts.description import MoEDescription
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.tokens import TOKEN_KINDS
from moe_eval_plugin.tuning.cells import Cell, cells_of, schedule_of

DESCRIPTION = MoEDescription(
    "tiny",
    is_moe=True,
    num_experts=8,
    num_experts_per_tok=8,
    num_shared_experts=0,
    num_zero_experts=0,
    norm_topk_prob=None,
)


@given(st.data())
def test_a_schedule_sets_the_k_of_each_cell_and_has_no_rule_without_tokens(
    data: st.DataObject,
) -> None:
    layers = sorted(data.draw(st.sets(st.integers(0, 9), min_size=1, max_size=6)))
    by = data.draw(st.sampled_from(["layer", "modality", "phase"]))
    choice = {cell: data.draw(st.integers(1, 8)) for cell in cells_of(layers, by)}
    schedule = schedule_of(choice, 8)
    assert parse_experts_k(schedule.text) == schedule
    # Raises for a rule that applies to no token.
    resolved = schedule.resolve(DESCRIPTION, layers)
    for layer in layers:
        for modality, phase in TOKEN_KINDS:
            (k,) = (
                k
                for cell, k in choice.items()
                if cell.layer == layer
                and cell.modality in {None, modality}
                and cell.phase in {None, phase}
            )
            assert resolved.k_of(layer, modality, phase) == k


def test_a_schedule_is_short() -> None:
    by_layer = {Cell(layer): k for layer, k in zip((1, 3, 5, 7), (3, 3, 1, 3), strict=True)}
    assert schedule_of(by_layer, 8).text == "3/5:1"
    by_modality = {
        cell: 2 if cell.modality == "image" else 8 for cell in cells_of([0, 1], "modality")
    }
    assert schedule_of(by_modality, 8).text == "8/image:2"
