"""What a policy is told of the losses of layers, whatever the search differs by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from moe_eval_plugin.tuning.cells import cells_of
from moe_eval_plugin.tuning.sensitivities import Loss, Sensitivities
from moe_eval_plugin.tuning.study.calibrated import losses_by_place

if TYPE_CHECKING:
    from moe_eval_plugin.experts.schedules.tuning_record import By

LAYERS = (1, 2)


@pytest.mark.parametrize("by", ["layer", "phase", "modality"])
def test_every_search_tells_what_a_layer_loses(by: By) -> None:
    cells = cells_of(LAYERS, by)
    losses = {
        (cell, k): Loss(np.array([cell.layer / k, 3 * cell.layer / k]))
        for cell in cells
        for k in (1, 2)
    }
    by_layer, by_modality = losses_by_place(Sensitivities(4, losses))
    if by == "modality":
        assert by_layer == {}
        assert by_modality[2, "image"] == {1: 4.0, 2: 2.0}
    else:
        n_parts = len(cells) // len(LAYERS)
        assert by_layer == {
            1: {1: 2.0 * n_parts, 2: n_parts},
            2: {1: 4.0 * n_parts, 2: 2 * n_parts},
        }
        assert by_modality == {}
