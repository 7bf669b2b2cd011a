"""Read the setting to deploy: a schedule or the file of a schedule or policy, and its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.errors import InvalidArgumentError, ModelNotFoundError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.tuned_file import read_tuned_file

if TYPE_CHECKING:
    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.experts.schedules.schedule import ExpertSchedule
    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord

FILE_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class NamedModel:
    """The options that name a model."""

    pretrained: str
    """``demo``, a folder, or an id on the Hub."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    trust_remote_code: bool = False
    """Whether code that comes with the model may run."""


@dataclass(frozen=True, eq=False)
class SettingToDeploy:
    """A schedule or a policy, and what it asks of a model if that is known.

    Exactly one of ``schedule`` and ``policy`` is there; ``policy`` is the text of
    ``experts_policy``.
    """

    schedule: ExpertSchedule | None
    policy: str | None
    tuning: TuningRecord | None
    """How it was found; ``None`` for one that users wrote."""
    request: ExpertRequest | None
    """The setting, checked against the model; ``None`` without a model."""
    model_unknown_reason: str | None = None
    """Why the model that the file names could not be read."""

    @property
    def text(self) -> str:
        """The value of ``experts_k`` or of ``experts_policy``."""
        return self.schedule.text if self.schedule else str(self.policy)

    @property
    def checked(self) -> ExpertRequest:
        """The setting, checked against the model; ``InvalidArgumentError`` without a model."""
        if self.request is None:
            why = f" ({self.model_unknown_reason.rstrip('.')})" if self.model_unknown_reason else ""
            message = f"No model is known for {self.text}{why}. Name it: --model MODEL."
            raise InvalidArgumentError(message)
        return self.request


def read_setting(value: str, model: NamedModel | None = None) -> SettingToDeploy:
    """Return the setting in a file, or that of a schedule as text, checked against its model.

    ``value`` is a path, with or without ``@``, or the text of ``experts_k``. Without ``model``, the
    one that the file was tuned on is read if it can be found.

    Raises ``DataError`` for a file that cannot be read, and what ``ModelConfig.load`` and
    ``ModelConfig.request`` raise; a model that only the file names may be missing.
    """
    schedule, policy, tuning = _content(value)
    named, reason = model, None
    if named is None and tuning is not None:
        named = NamedModel(tuning.model, tuning.revision)
    config = None
    if named is not None:
        try:
            config = ModelConfig.load(named)
        except ModelNotFoundError as error:
            if model is not None:
                raise
            reason = str(error)
    request = config.request(schedule and schedule.text, policy) if config else None
    return SettingToDeploy(schedule, policy, tuning, request, reason)


def _content(value: str) -> tuple[ExpertSchedule | None, str | None, TuningRecord | None]:
    text = value.strip()
    path = Path(text.removeprefix("@")).expanduser()
    if text.startswith("@") or path.suffix in FILE_ENDINGS or path.is_file():
        file = read_tuned_file(path)
        return file.schedule, file.policy, file.tuning
    return parse_experts_k(text), None, None
