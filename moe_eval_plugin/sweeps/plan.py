"""The plan of a sweep: frozen data, checked against the model before a weight is read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.routing_rule import NATIVE, UNIFORM
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile
from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord
from moe_eval_plugin.files import short_digest
from moe_eval_plugin.hosts.harness import FIRST, LM_EVAL, LMMS_EVAL, harness
from moe_eval_plugin.hosts.shared.host_run import HostRun
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.option_values import argument_names, argument_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The folder in that of a sweep with the files that settings were read from.
SCHEDULES = "schedules"
# By host, the models with transformers, whose k can be changed once they are loaded.
CHANGE_K_LIVE: Mapping[str, tuple[str, ...]] = {
    LMMS_EVAL: ("moe_hf",),
    LM_EVAL: ("moe_hf", "moe_hf-multimodal"),
}
# By host, what each point computes once; models of lm-eval share nothing of their own accord.
SHARED_BY_POINTS = {LM_EVAL: "share_contexts=auto"}
# What each point sets itself, so that --model-args cannot.
POINT_ARGUMENTS = ("experts_k", "experts_policy", "renorm", "seed")
# Settings that folders of earlier versions do not name, and what they were.
NEWER: Mapping[str, Any] = {"host": FIRST, "num_fewshot": None, "apply_chat_template": False}


@dataclass(frozen=True)
class SweepPoint:
    """One setting of the sweep: k, the rule that drops experts, and the seed."""

    name: str
    """Stable name, which is that of the point's folder too."""
    experts_k: str
    """The schedule of k as text."""
    experts_policy: str = UNIFORM
    """The rule that drops experts; ``uniform`` drops none."""
    renorm: str = NATIVE.renorm
    """How the weights of the kept experts are scaled."""
    seed: int | None = None
    """Seed of the model; ``None`` leaves the default."""
    is_baseline: bool = False
    """Whether this is the model as published."""
    tuning: TuningRecord | None = None
    """How its schedule or its policy was found; ``None`` if ``moe-eval tune`` did not find it."""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> SweepPoint:
        """Read a point as it is stored; raises ``TypeError`` and ``DataError``."""
        fields_of_point = dict(stored)
        tuning = JsonObject({"tuning": fields_of_point.pop("tuning", None)}).item("tuning")
        record = TuningRecord.from_dict(tuning) if tuning else None
        return cls(**fields_of_point, tuning=record)

    @property
    def tuned_file(self) -> TunedFile | None:
        """The file that it was read from; ``None`` if ``moe-eval tune`` did not find it."""
        if self.tuning is None:
            return None
        if self.tuning.is_of_policy:
            return TunedFile(policy=self.experts_policy, tuning=self.tuning)
        return TunedFile(parse_experts_k(self.experts_k), tuning=self.tuning)

    def named_by_file(self, folder: str) -> SweepPoint:
        """Return the point with ``@FOLDER/NAME.yaml`` in place of what was tuned, if anything."""
        if self.tuning is None:
            return self
        file = f"@{folder}/{self.tuning.name}.yaml"
        if self.tuning.is_of_policy:
            return replace(self, experts_policy=file)
        return replace(self, experts_k=file)

    @property
    def model_args(self) -> str:
        """The point as arguments of the model, without what is as published."""
        given = {"experts_k": self.experts_k}
        if self.experts_policy != UNIFORM:
            given["experts_policy"] = self.experts_policy
        if self.renorm != NATIVE.renorm:
            given["renorm"] = self.renorm
        if self.seed is not None:
            given["seed"] = str(self.seed)
        return ",".join(f"{name}={value}" for name, value in given.items())

    @property
    def label(self) -> str:
        """The point as people read it: ``k=8``, or its name where it sets more than one k."""
        return f"k={self.experts_k}" if self.name == f"k{self.experts_k}" else self.name

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        stored = asdict(replace(self, tuning=None))
        del stored["tuning"]
        return {**stored, "tuning": self.tuning.to_dict()} if self.tuning else stored

    def digest(self, settings: Mapping[str, Any]) -> str:
        """Return a digest of everything that the numbers of this point depend on."""
        found = {"tuning": self.tuning.to_dict()} if self.tuning else {}
        asked = {"settings": dict(settings), "model_args": self.model_args}
        return short_digest({**asked, **found})


@dataclass(frozen=True)
class SweepPlan:
    """The points of a sweep, baseline first, and what is equal for all of them."""

    model: str
    """Name of the model in the host, e.g. ``moe_hf``."""
    model_args: str
    """Arguments of the model that are equal for all points."""
    tasks: tuple[str, ...]
    """Names of tasks of the host."""
    points: tuple[SweepPoint, ...]
    """The settings to compare, seed by seed, each seed with its baseline first."""
    limit: int | None = None
    """Questions of each task; ``None`` for all."""
    batch_size: str = "1"
    """Questions in a batch, or ``auto``."""
    device: str | None = None
    """Torch device; ``None`` leaves it to the model."""
    gen_kwargs: str | None = None
    """Generation arguments, as for the host."""
    include_path: str | None = None
    """A folder with more tasks."""
    host: str = FIRST
    """The harness: ``lmms-eval`` or ``lm-eval``."""
    num_fewshot: int | None = None
    """Examples in each prompt; ``None`` leaves it to the task."""
    apply_chat_template: bool = False
    """Whether prompts are passed through the chat template, where the host leaves that open."""

    @property
    def changes_k_live(self) -> bool:
        """Whether k can be changed in the loaded model."""
        return self.model in CHANGE_K_LIVE[self.host]

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            message = f"--limit {self.limit} is not possible. Use 1 or more."
            raise InvalidArgumentError(message)

    def run(self, point: SweepPoint | None = None) -> HostRun:
        """Return the run of the host that is a point; without one, what all points ask."""
        own = [replace(point, seed=None).model_args, *self._shared()] if point else []
        names = [field.name for field in fields(HostRun) if field.name != "seed"]
        common = {name: getattr(self, name) for name in names}
        joined = harness(self.host).join_texts((self.model_args, *own))
        return HostRun(**{**common, "model_args": joined}, seed=point.seed if point else None)

    def host_arguments(self, point: SweepPoint, output: str) -> list[str]:
        """Return the arguments with which the host's own command runs this point.

        What was tuned is named by its file beside ``output``, so that the results say how it was
        found, whichever process writes them.
        """
        named = point.named_by_file(str(Path(output).parent / SCHEDULES))
        return harness(self.host).run_settings(self.run(named)).arguments(output)

    def _shared(self) -> Iterator[str]:
        """Yield what the points compute once for several requests, unless the plan says it."""
        argument = SHARED_BY_POINTS.get(self.host)
        if argument is not None and self.model in CHANGE_K_LIVE[self.host]:
            name = argument.partition("=")[0]
            if name not in harness(self.host).argument_names(self.model_args):
                yield argument

    def own_settings(self) -> dict[str, Any]:
        """Return what was requested for all points alike, by name.

        Whether questions that cannot be asked are counted changes no answer: a sweep that such a
        question ended goes on with ``unanswerable=count``.
        """
        settings = asdict(self)
        del settings["points"]
        # Without those that are newer than other folders, where they are as they were then.
        for name, before in NEWER.items():
            if settings[name] == before:
                del settings[name]
        if "unanswerable" in argument_names(self.model_args):
            parts = argument_parts(self.model_args)
            kept = [part for part in parts if part.partition("=")[0].strip() != "unanswerable"]
            settings["model_args"] = ",".join(kept)
        return {**settings, "tasks": ",".join(self.tasks)}


def check_model_args(model_args: str, host: str = FIRST) -> None:
    """Raise ``InvalidArgumentError`` for arguments that each point sets for itself."""
    names = harness(host).argument_names(model_args)
    for name in POINT_ARGUMENTS:
        if name in names:
            option = "--seeds" if name == "seed" else f"--{name.replace('_', '-')}"
            message = (
                f"--model-args {model_args} sets {name}, which each setting of the sweep sets "
                f"itself. Remove it, and pass its values with {option}."
            )
            raise InvalidArgumentError(message)
