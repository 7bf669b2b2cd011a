"""Tables of k, written as schedules of few rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.experts.schedules.compact import schedule_of_table
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.tokens import CONTENT, PHASES, TOKEN_KINDS
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.testing import tiny_config

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYERS = st.lists(st.integers(0, 9), min_size=1, max_size=8, unique=True).map(sorted)
MODEL = describe(tiny_config("qwen3_vl_moe"))
BASELINE = MODEL.num_experts_per_tok


@st.composite
def tables(draw: st.DrawFn) -> Mapping[object, int]:
    kinds = draw(st.sampled_from([None, CONTENT, PHASES]))
    layers, ks = draw(LAYERS), st.integers(1, BASELINE)
    if kinds is None:
        return {layer: draw(ks) for layer in layers}
    return {(layer, kind): draw(ks) for layer in layers for kind in kinds}


@given(tables())
def test_a_schedule_sets_what_the_table_says(table: Mapping[object, int]) -> None:
    schedule = schedule_of_table(table, BASELINE)
    assert parse_experts_k(schedule.text) == schedule
    layers = sorted({key[0] if isinstance(key, tuple) else key for key in table})
    resolved = schedule.resolve(MODEL, layers)
    for layer in layers:
        for modality, phase in TOKEN_KINDS:
            keys = (layer, (layer, modality), (layer, phase))
            wanted = next(table[key] for key in keys if key in table)
            assert resolved.k_of(layer, modality, phase) == wanted


def by(kinds: tuple[str, ...], *columns: list[int]) -> dict[tuple[int, str], int]:
    pairs = zip(kinds, columns, strict=True)
    return {(layer, kind): k for kind, ks in pairs for layer, k in enumerate(ks)}


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({0: 3, 1: 3, 2: 8, 3: 8, 4: 2}, "8/0-1:3/4:2"),
        ({0: 8, 1: 4, 2: 8, 3: 4, 4: 4}, "8/1:4/3-4:4"),
        ({0: 8, 1: 4, 2: 8, 3: 4, 4: 8, 5: 4, 6: 4, 7: 2, 8: 4}, "4/0:8/2:8/4:8/7:2"),
        ({1: 3, 3: 3, 5: 1}, "3/5:1"),
        ({0: 2, 1: 2}, "2"),
        (by(CONTENT, [8, 8, 4, 4], [8, 8, 2, 2]), "8/text+2-3:4/image+2-3:2"),
        (by(CONTENT, [8, 8, 8], [2, 3, 2]), "8/image:2/image+1:3"),
        (by(CONTENT, [8, 4, 8], [8, 8, 4]), "8/text+1:4/image+2:4"),
        (by(CONTENT, [8, 8], [8, 8]), "8"),
        (by(PHASES, [8, 8, 8], [4, 4, 4]), "8/decode:4"),
    ],
)
def test_neighbours_of_one_k_share_a_rule(table: Mapping[object, int], text: str) -> None:
    assert schedule_of_table(table, 8).text == text


@pytest.mark.parametrize("table", [{}, {(0, "text"): 8, (0, "image"): 8, (1, "text"): 8}])
def test_an_incomplete_table_is_refused(table: Mapping[object, int]) -> None:
    with pytest.raises(ValueError, match="incomplete"):
        schedule_of_table(table, 8)
