from __future__ import annotations

from typing import get_args

from moe_eval_plugin.experts.tokens import OBSERVED_MODALITIES, PHASES, ObservedModality, Phase


def test_modalities_and_phases_are_those_of_the_types() -> None:
    assert get_args(ObservedModality) == OBSERVED_MODALITIES
    assert get_args(Phase) == PHASES
