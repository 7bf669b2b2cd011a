"""How a study is made on this machine, and what its schedules read in decode."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from moe_eval_plugin.hardware.device import describe_this_machine
from moe_eval_plugin.results.versions import installed_versions, versions_with
from moe_eval_plugin.sweeps.identity.fingerprint import model_settings
from moe_eval_plugin.sweeps.manifest import differences
from moe_eval_plugin.tuning.study.study import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.models.costs.cost_model import LanguageModelCost
    from moe_eval_plugin.tuning.cells import Cell
    from moe_eval_plugin.tuning.prices.lengths import PromptLengths
    from moe_eval_plugin.tuning.study.request import TuneRequest


def origin_of(request: TuneRequest, config: ModelConfig, command: str) -> Origin:
    """Return how the study is made now, on this machine."""
    revision = model_settings(config).get("model revision")
    return Origin(
        model=request.calibration.pretrained,
        revision=None if revision is None else str(revision),
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=_this_machine(),
        versions=versions_with(request.calibration.host, installed_versions()),
        settings=request.settings(),
    )


def changes_since(origin: Origin, host: str) -> list[str]:
    """List what differs here and now from how a study was made, as ``name: before -> now``.

    It is the device, and the packages that a study with prompts of ``host`` depends on.
    """
    before, now = (
        {"machine": machine.get("name"), "devices": machine.get("devices"), **versions}
        for machine, versions in (
            (origin.machine, origin.versions),
            (_this_machine(), versions_with(host, installed_versions())),
        )
    )
    return differences(before, now)


def _this_machine() -> dict[str, Any]:
    facts = describe_this_machine()
    machine = {"name": facts.name, "devices": facts.n_devices, "threads": facts.threads}
    return {name: value for name, value in machine.items() if value is not None}


def decode_bytes(
    cost: LanguageModelCost,
    layers: Sequence[int],
    choice: Mapping[Cell, int],
    baseline: int,
    lengths: PromptLengths,
) -> float:
    """Return the bytes that a decode step of one sequence reads, as a share of the published.

    The step is that after a prompt of mean length; ``layers`` are those of the cost model.
    """
    decoded = {
        cell.layer: float(k)
        for cell, k in choice.items()
        if cell.modality != "image" and cell.phase != "prefill"
    }
    n = round(float((lengths.text + lengths.image).mean())) + 1
    published = cost.decode_numbers(1, n, [float(baseline)] * len(layers))
    return cost.decode_numbers(1, n, [decoded[layer] for layer in layers]) / published
