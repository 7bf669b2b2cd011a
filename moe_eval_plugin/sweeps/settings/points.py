"""Build the points of a sweep from the values of its options, each checked and named."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from moe_eval_plugin.errors import InvalidArgumentError, NotAnMoEError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.routing_rule import NATIVE, UNIFORM
from moe_eval_plugin.files import short_digest
from moe_eval_plugin.override.policies.parsing import parse_rule
from moe_eval_plugin.sweeps.plan import SCHEDULES, SweepPoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.schedules.tuned_file import TunedFile
    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord

    # k, policy and renormalisation as text.
    Texts: TypeAlias = tuple[str, str, str]

LONGEST_NAME = 60
# Other folders in that of a sweep.
TAKEN = (SCHEDULES, "journal", "logs", "slurm", "timing")


@dataclass(frozen=True)
class Axes:
    """The values to combine; without ``schedules``, the published k and its halves."""

    schedules: Sequence[str] = ()
    """Numbers, schedules, or ``@FILE``."""
    experts_policies: Sequence[str] = (UNIFORM,)
    """Policies that are combined with each schedule: ``NAME:NUMBER``, or ``@FILE``."""
    renorms: Sequence[str] = (NATIVE.renorm,)
    """Renormalisations that are combined with everything."""
    seeds: Sequence[int] = ()
    """Seeds with which everything is repeated."""
    policies: Sequence[str] = ()
    """Policies at the published k alone: ``NAME:NUMBER``, or ``@FILE``."""


@dataclass(frozen=True, eq=False)
class _Value:
    """A schedule or a policy as text, and how it was found."""

    text: str
    tuning: TuningRecord | None = None


def make_points(description: MoEDescription, axes: Axes) -> tuple[tuple[SweepPoint, ...], bool]:
    """Build a point for each combination, seed by seed, the published k first.

    All points of a seed come before those of the next one: whatever slows a machine for a while
    slows them alike.

    The second value is whether the baseline had to be added. Each k is checked as far as the
    model's description allows; raises what ``parse_experts_k``,
    ``ExpertSchedule.resolve`` and ``parse_rule`` raise, and ``NotAnMoEError`` for a dense model.
    """
    if not description.is_moe:
        message = (
            f"{description.model_type} is a dense model: it has no experts, so there is no k to "
            "sweep over. Run it once with the host's own command, or pass an MoE model."
        )
        raise NotAnMoEError(message)
    description.raise_if_fixed()
    baseline = (str(description.num_experts_per_tok), UNIFORM, NATIVE.renorm)
    requested = list(_requested(description, axes, baseline[0]))
    chosen = _chosen([(baseline, None), *requested])
    points = [
        SweepPoint(
            _name(texts, tuning, baseline[0], seed if len(axes.seeds) > 1 else None),
            *texts,
            seed,
            is_baseline=texts == baseline,
            tuning=tuning,
        )
        for seed in (axes.seeds or (None,))
        for texts, tuning in chosen
    ]
    _check_names(points)
    return tuple(points), baseline not in [texts for texts, _ in requested]


def _requested(
    description: MoEDescription, axes: Axes, published: str
) -> Iterator[tuple[Texts, TuningRecord | None]]:
    """Yield what the options ask for, in their order, and how it was found."""
    schedules = [_schedule(text, description) for text in axes.schedules]
    for text, renorm, schedule in itertools.product(axes.experts_policies, axes.renorms, schedules):
        policy = _policy(text, renorm)
        if policy.tuning and schedule.tuning:
            message = (
                f"{schedule.tuning.name} of --experts-k and {policy.tuning.name} of "
                "--experts-policy are not possible together: each was found without the other. "
                "Pass the policy with --policies, which runs it at the published k."
            )
            raise InvalidArgumentError(message)
        yield (schedule.text, policy.text, renorm), policy.tuning or schedule.tuning
    for text, renorm in itertools.product(axes.policies, axes.renorms):
        policy = _policy(text, renorm)
        yield (published, policy.text, renorm), policy.tuning


def _schedule(given: str, description: MoEDescription) -> _Value:
    schedule = parse_experts_k(given)
    if schedule is None:
        message = "--experts-k has an empty value. Pass numbers or schedules, as in: 8 4 2 1."
        raise InvalidArgumentError(message)
    if not schedule.names_layers:
        schedule.resolve(description)
    return _Value(schedule.text, schedule.tuning)


def _policy(given: str, renorm: str) -> _Value:
    rule = parse_rule(given, renorm)
    return _Value(rule.policy_text, rule.tuning)


def _chosen(
    requested: Iterable[tuple[Texts, TuningRecord | None]],
) -> list[tuple[Texts, TuningRecord | None]]:
    """Return each setting once; ``InvalidArgumentError`` if two of them ask for the same experts.

    One of them would be the other by another name, and a comparison of them means nothing.
    """
    chosen: dict[Texts, TuningRecord | None] = {}
    for texts, tuning in requested:
        if texts in chosen and chosen[texts] != tuning:
            names = [one.name for one in (chosen[texts], tuning) if one is not None]
            (k, policy, _), also = texts, " and ".join(names)
            uses = f"k={k}" if policy == UNIFORM else f"{policy} at k={k}"
            message = (
                f"Two settings of this sweep are {uses}: {also}"
                f"{', and the one without a file' if len(names) == 1 else ''}. Leave one out."
            )
            raise InvalidArgumentError(message)
        chosen[texts] = tuning
    return list(chosen.items())


def _name(texts: Texts, tuning: TuningRecord | None, published: str, seed: int | None) -> str:
    experts_k, policy, renorm = texts
    parts = [f"k{experts_k}", policy if policy != UNIFORM else ""]
    if tuning and tuning.is_of_policy:
        parts = ["" if experts_k == published else parts[0], tuning.name]
    elif tuning:
        parts[0] = tuning.name
    if renorm != NATIVE.renorm:
        parts.append(f"renorm-{renorm}")
    name = "-".join(part for part in parts if part).replace("/", "_").replace(":", "-")
    name = re.sub(r"[^\w.+-]", "-", name)
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{short_digest(name)}"
    return name if seed is None else f"{name}-seed{seed}"


def _check_names(points: Iterable[SweepPoint]) -> None:
    """Raise ``InvalidArgumentError`` for two points of one name: they would share a folder.

    So would two files of one name, and a file that is named like a folder of the sweep.
    """
    seen: dict[str, SweepPoint] = {}
    found: dict[str, TunedFile] = {}
    for point in points:
        if point.name in seen:
            message = (
                f"{seen[point.name].model_args} and {point.model_args} would both be named "
                f"{point.name}. Remove one of them, or sweep them into two folders."
            )
            raise InvalidArgumentError(message)
        seen[point.name] = point
        file = point.tuned_file
        if file is None or file.tuning is None:
            continue
        name = file.tuning.name
        if point.name in TAKEN or found.setdefault(name, file) != file:
            message = (
                f"Two files are named {name}, or a folder of the sweep is. Write another name "
                "into the file, under tuning."
            )
            raise InvalidArgumentError(message)
