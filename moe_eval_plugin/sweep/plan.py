"""What a sweep is to do: frozen data, checked against the model before a weight is read."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError, NotAnMoEError
from moe_eval_plugin.experts.routing_rule import NATIVE, UNIFORM
from moe_eval_plugin.experts.schedule_parser import parse_experts_k
from moe_eval_plugin.files import short_digest
from moe_eval_plugin.hosts.lmms_eval.command import RunSettings
from moe_eval_plugin.override.policies import parse_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from moe_eval_plugin.experts.description import MoEDescription

LONGEST_NAME = 60
# What a point sets for itself, so that --model-args cannot.
OF_POINTS = ("experts_k", "experts_policy", "renorm", "seed")


@dataclass(frozen=True)
class SweepPoint:
    """One place of the sweep: how many experts, by which rule, and the seed.

    ``name`` is stable, and the name of the point's folder. ``experts_k`` is a schedule as text.
    A ``seed`` of ``None`` leaves the model its own.
    """

    name: str
    experts_k: str
    experts_policy: str = UNIFORM
    renorm: str = NATIVE.renorm
    seed: int | None = None
    is_baseline: bool = False

    @property
    def model_args(self) -> str:
        """Give the point as arguments of the model; what is as published is left out."""
        given = {"experts_k": self.experts_k}
        if self.experts_policy != UNIFORM:
            given["experts_policy"] = self.experts_policy
        if self.renorm != NATIVE.renorm:
            given["renorm"] = self.renorm
        if self.seed is not None:
            given["seed"] = str(self.seed)
        return ",".join(f"{name}={value}" for name, value in given.items())

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain JSON data."""
        return asdict(self)

    def digest(self, settings: Mapping[str, Any]) -> str:
        """Give a digest of everything that its numbers depend on."""
        return short_digest({"settings": dict(settings), "model_args": self.model_args})


@dataclass(frozen=True)
class SweepPlan:
    """The points of a sweep, baseline first, and what is equal for all of them.

    ``model`` and ``model_args`` are those of lmms-eval, ``tasks`` its names. ``limit`` is the
    number of questions of each task, ``None`` for all.
    """

    model: str
    model_args: str
    tasks: tuple[str, ...]
    points: tuple[SweepPoint, ...]
    limit: int | None = None
    batch_size: str = "1"
    device: str | None = None
    gen_kwargs: str | None = None
    include_path: str | None = None

    def host_arguments(self, point: SweepPoint, output: str) -> list[str]:
        """Return the arguments with which lmms-eval's own command makes this point."""
        settings = RunSettings(
            model=self.model,
            model_args=",".join(part for part in (self.model_args, point.model_args) if part),
            tasks=self.tasks,
            batch_size=self.batch_size,
            device=self.device,
            limit=self.limit,
            gen_kwargs=self.gen_kwargs,
            include_path=self.include_path,
            log_samples=True,
        )
        return settings.arguments(output)

    def own_settings(self) -> dict[str, Any]:
        """Give what is equal for all points and was asked for, by name."""
        settings = asdict(self)
        del settings["points"]
        return {**settings, "tasks": ",".join(self.tasks)}


def make_points(
    description: MoEDescription,
    schedules: Sequence[str],
    policies: Sequence[str] = (UNIFORM,),
    renorms: Sequence[str] = (NATIVE.renorm,),
    seeds: Sequence[int] = (),
) -> tuple[tuple[SweepPoint, ...], bool]:
    """Make a point of each combination, seed by seed, the published k first.

    All points of a seed come before those of the next one: whatever slows a machine for a while
    slows them alike.

    The second value tells whether the baseline had to be added. Whether each k is possible is
    checked here as far as the model's description tells; raises what ``parse_experts_k``,
    ``ExpertSchedule.resolve`` and ``parse_rule`` raise, and ``NotAnMoEError`` for a dense model.
    """
    if not description.is_moe:
        message = (
            f"{description.model_type} is a dense model: it has no experts, so there is no k to "
            "sweep over. Run it once with lmms-eval, or name an MoE model."
        )
        raise NotAnMoEError(message)
    description.raise_if_fixed()
    baseline = (str(description.num_experts_per_tok), UNIFORM, NATIVE.renorm)
    asked = [
        (_schedule_text(schedule, description), *_rule_texts(policy, renorm))
        for policy, renorm, schedule in itertools.product(policies, renorms, schedules)
    ]
    chosen = dict.fromkeys([baseline, *asked])
    points = [
        SweepPoint(
            _name(*of, seed if len(seeds) > 1 else None), *of, seed, is_baseline=of == baseline
        )
        for seed in (seeds or (None,))
        for of in chosen
    ]
    _check_names(points)
    return tuple(points), baseline not in asked


def check_model_args(model_args: str) -> None:
    """Refuse arguments that each point sets for itself."""
    names = {part.partition("=")[0].strip() for part in model_args.split(",")}
    for name in OF_POINTS:
        if name in names:
            option = "--seeds" if name == "seed" else f"--{name.replace('_', '-')}"
            message = (
                f"--model-args {model_args} sets {name}, which differs from point to point. "
                f"Take it out, and give all its values with {option}."
            )
            raise InvalidArgumentError(message)


def _schedule_text(given: str, description: MoEDescription) -> str:
    schedule = parse_experts_k(given)
    if schedule is None:
        message = "--experts-k has an empty value. Give a number or a schedule, as in: 8 4 2 1."
        raise InvalidArgumentError(message)
    if not schedule.names_layers:
        schedule.resolve(description)
    return schedule.text


def _rule_texts(policy: str, renorm: str) -> tuple[str, str]:
    rule = parse_rule(policy, renorm)
    return rule.policy_text, rule.renorm


def _name(experts_k: str, policy: str, renorm: str, seed: int | None) -> str:
    parts = [f"k{experts_k}", policy if policy != UNIFORM else "", ""]
    if renorm != NATIVE.renorm:
        parts[2] = f"renorm-{renorm}"
    name = "-".join(part for part in parts if part).replace("/", "_").replace(":", "-")
    name = re.sub(r"[^\w.+-]", "-", name)
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{short_digest(name)}"
    return name if seed is None else f"{name}-seed{seed}"


def _check_names(points: Iterable[SweepPoint]) -> None:
    """Two points of one name would write to one folder."""
    seen: dict[str, SweepPoint] = {}
    for point in points:
        if point.name in seen:
            message = (
                f"{seen[point.name].model_args} and {point.model_args} would both be called "
                f"{point.name}. Leave one of them out, or sweep them into two folders."
            )
            raise InvalidArgumentError(message)
        seen[point.name] = point
