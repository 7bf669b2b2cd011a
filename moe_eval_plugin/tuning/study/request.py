"""What is to be tuned: a model on calibration questions, at which prices, and for what k."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.tuning_record import By, Unit
from moe_eval_plugin.option_values import read_choice
from moe_eval_plugin.tuning.frontier.targets import read_targets

if TYPE_CHECKING:
    from moe_eval_plugin.tuning.prompts.request import CalibrationRequest

# The fields whose options have other names.
NAMES = {
    "pretrained": "model",
    "n_questions": "calibration",
    "split": "calibration_split",
    "targets": "target",
    "policies": "policy",
}
UNITS: tuple[Unit, ...] = get_args(Unit)
BYS: tuple[By, ...] = get_args(By)


@dataclass(frozen=True)
class TuneRequest:
    """A model, the questions it is calibrated on, and the prices of the schedules.

    Raises ``InvalidArgumentError`` for a value that is not possible.
    """

    calibration: CalibrationRequest
    """The model, and the questions or random tokens that it is calibrated on."""
    targets: tuple[float, ...] = ()
    """Shares of the published model's price; empty for the prices of all uniform k."""
    unit: Unit = "experts"
    """What the price counts."""
    by: By = "layer"
    """What k may differ by; with modality and phase by layer too."""
    policies: tuple[str, ...] = ()
    """Names of policies whose parameters are calibrated at each target too."""
    experts_k: tuple[int, ...] = ()
    """The k below the published one to choose from; empty for all, or seven of many."""

    def __post_init__(self) -> None:
        read_choice("--unit", self.unit, UNITS)
        read_choice("--by", self.by, BYS)
        object.__setattr__(self, "targets", read_targets(self.targets))
        object.__setattr__(self, "experts_k", tuple(sorted(set(self.experts_k))))
        if self.unit == "time" and self.by != "layer":
            message = (
                f"--unit time and --by {self.by} exclude each other: a layer computes all tokens "
                "of a pass at once, so only the time of a whole layer can be measured. Use --unit "
                "flops, or leave --by out."
            )
            raise InvalidArgumentError(message)
        if self.calibration.data_free and self.by != "layer":
            message = (
                f"--data-free and --by {self.by} exclude each other: random tokens have no images "
                "and no answers. Leave one of them out."
            )
            raise InvalidArgumentError(message)

    def settings(self) -> dict[str, Any]:
        """Return all settings by the names of the command's options, as plain data."""
        content = asdict(self)
        named = {**content.pop("calibration"), **content}
        return {NAMES.get(name, name): _plain(value) for name, value in named.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401  (any setting)
    return list(value) if isinstance(value, tuple) else value
