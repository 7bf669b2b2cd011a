"""What the calibration of a policy gets: losses of layers, the model, and the prompts."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from moe_eval_plugin.plugins import Policy, PolicyCalibration, PolicyParameter, hookimpl
from moe_eval_plugin.plugins.manager import ENTRY_POINT_GROUP, build_manager
from moe_eval_plugin.testing import tiny_moe
from moe_eval_plugin.tuning.cells import cells_of
from moe_eval_plugin.tuning.passes.batch_passes import BatchPasses
from moe_eval_plugin.tuning.passes.measure import measure_losses
from moe_eval_plugin.tuning.policies.calibrate import check_calibrated
from moe_eval_plugin.tuning.prices.counted import expert_prices
from moe_eval_plugin.tuning.sensitivities import Loss, Sensitivities
from moe_eval_plugin.tuning.study.calibrated import PolicyCalibrations, losses_by_place
from tests.tuning.known_losses import LENGTHS
from tests.tuning.passes.calibrations import Counting, loaded, prompts, with_answers

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from moe_eval_plugin.experts.schedules.tuning_record import By

LAYERS = (1, 2)
ABOVE = Policy(
    name="above",
    summary="keep the experts whose weight is at least a number",
    parameters=(PolicyParameter("number", "the smallest weight to keep"),),
    keep=lambda choice, number: choice.weights >= number,
)


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


def test_a_plugin_runs_the_published_model_on_the_calibration_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(tiny_moe())
    batch = with_answers(model, {"input_ids": torch.arange(2, 14)[None]})
    published = BatchPasses(model, batch, None).run_published().logits
    seen: list[Tensor] = []

    @hookimpl
    def moe_eval_calibrate_policy(calibration: PolicyCalibration) -> list[float]:
        if calibration.model is None:
            assert calibration.prompts == ()
            return [1.0]
        calibration.measure([0.25])  # which leaves the model as it was
        (one,) = calibration.prompts
        with torch.no_grad():
            logits = calibration.model(**one.inputs).logits
        seen.append(logits[:, one.n_prompt - 1 :])
        assert one.answer_ids.shape == seen[0].shape[:2]
        return [1.0]

    module = ModuleType("third")
    module.moe_eval_calibrate_policy = moe_eval_calibrate_policy  # type: ignore[attr-defined]
    module.moe_eval_register_policies = hookimpl(lambda: [ABOVE])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "third", module)
    manager = build_manager([EntryPoint("third", "third", ENTRY_POINT_GROUP)])
    monkeypatch.setattr("moe_eval_plugin.plugins.manager.plugin_manager", lambda: manager)
    layers, k = model.config.moe_layers, model.config.description.num_experts_per_tok
    check_calibrated("above", layers, k)
    assert not seen
    cells = cells_of(layers, "layer")
    calibrations = PolicyCalibrations(
        layers=layers,
        model=model.module,
        prompts=prompts(batch),
        has_images=False,
        sensitivities=Sensitivities(k, {(cell, 1): Loss(np.ones(2)) for cell in cells}),
        measure=lambda text: measure_losses(
            model,
            prompts(batch),
            {text: model.config.request(None, text)},
            tmp_path / "losses.jsonl",
            Counting(),
        )[text],
    )
    prices = expert_prices(cells, (1,), k, LENGTHS)
    (found,), unreached = calibrations.calibrate(("above",), (1 / k,), prices)
    assert not unreached
    assert (found.experts_policy, found.mean_k) == ("above:1", 1.0)
    torch.testing.assert_close(seen[0], published)
