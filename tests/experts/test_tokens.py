from __future__ import annotations

from typing import get_args

from moe_eval_plugin.experts.tokens import (
    CONTENT,
    IMAGE,
    OBSERVED_MODALITIES,
    PADDING,
    PHASES,
    TEXT,
    ObservedModality,
    Phase,
)


def test_modalities_and_phases_are_those_of_the_types() -> None:
    assert get_args(ObservedModality) == OBSERVED_MODALITIES
    assert get_args(Phase) == PHASES


def test_tables_of_counts_have_a_fixed_order() -> None:
    assert OBSERVED_MODALITIES == ("text", "image", "padding")
    assert (TEXT, IMAGE, PADDING) == (0, 1, 2)
    assert OBSERVED_MODALITIES[:PADDING] == CONTENT
    assert PHASES == ("prefill", "decode")
