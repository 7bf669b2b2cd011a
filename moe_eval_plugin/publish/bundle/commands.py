"""Build the commands that repeat a finished sweep or run, as lists of arguments.

They are built from the settings that the results record, not from what somebody typed: a sweep
that was extended three times is one command here.
"""

from __future__ import annotations

import argparse
import itertools
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.routing_rule import UNIFORM
from moe_eval_plugin.hosts.harness import FIRST, PACKAGES, harness
from moe_eval_plugin.publish.bundle.finished import setting_of, sweep_point
from moe_eval_plugin.results.run import UNKNOWN
from moe_eval_plugin.sweeps.plan import SCHEDULES, SweepPoint
from moe_eval_plugin.sweeps.planning import NAMES_OF_MODELS
from moe_eval_plugin.sweeps.settings.kept_files import kept_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from moe_eval_plugin.hosts.harness import Harness
    from moe_eval_plugin.publish.bundle.finished import Setting
    from moe_eval_plugin.results.run import Run
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.manifest import Manifest

# Placeholder for the output folder.
OUTPUT = "{output}"
# Arguments of a model that may name a file.
TUNED = ("experts_k", "experts_policy")
SWEEP = ("moe-eval", "sweep")
# With --separate and --batch-sizes, the options that change speeds and no answers.
TYPED = (
    *("--processes-per-point", "--speed-precision", "--speed-budget"),
    *("--timing-rounds", "--timing-seed"),
)


def sweep_commands(manifest: Manifest, timed: Sequence[TimedPass] = ()) -> list[list[str]]:
    """Return the commands that repeat all points of a sweep, and its timed passes.

    It is one command, unless the values of k differ between routing rules. What was tuned is named
    by its file in the folder ``schedules``, beside that of the commands.
    """
    settings = manifest.settings
    host = settings.get("host", FIRST)
    model, model_args = str(settings.get("model") or ""), settings.get("model_args") or ""
    revision = settings.get("model revision")
    given = {
        "--host": None if host == FIRST else host,
        "--model": model,
        "--model-args": harness(host).pinned_model_args(model, model_args, revision),
        "--limit": settings.get("limit"),
        "--batch-size": settings.get("batch_size"),
        "--device": settings.get("device"),
        "--gen-kwargs": settings.get("gen_kwargs"),
        "--include-path": settings.get("include_path"),
        "--num-fewshot": settings.get("num_fewshot"),
    }
    flags = ["--apply-chat-template"] if settings.get("apply_chat_template") else []
    tasks = str(settings.get("tasks", "")).split(",")
    common = [*SWEEP, *_options(given), *flags, "--tasks", *tasks, *_typed(manifest, timed)]
    points = [sweep_point(entry) for entry in manifest.entries.values()]
    seeds = dict.fromkeys(str(point.seed) for point in points if point.seed is not None)
    seeding = ["--seeds", *seeds] if seeds else []
    return [
        [*common, *axes, *seeding, "--output", OUTPUT]
        for axes in _axes(
            dict.fromkeys(setting_of(point.named_by_file(SCHEDULES)) for point in points),
            {setting_of(point) for point in points if point.is_baseline},
        )
    ]


def run_command(run: Run) -> list[str]:
    """Return the command of the host that repeats a run.

    A file of a schedule or a policy is named as ``tuned_file_of`` returns it.
    """
    tool, setup = harness(run.host), run.setup
    command = tool.settings_of(run).command(OUTPUT)
    name = _model_args_of(command)
    text = _value(command, name)
    if setup is None or "@" not in text or not tool.argument_names(text) & {*TUNED}:
        return command
    given = tool.read_arguments(text)
    named = [one for one in TUNED if str(given.get(one, "")).startswith("@")]
    in_place = {one: setup.values.get(one) for one in named}
    if setup.tuning is not None:
        option = "experts_policy" if setup.tuning.is_of_policy else "experts_k"
        in_place[option] = f"@{SCHEDULES}/{setup.tuning.name}.yaml"
    return with_option(command, name, tool.write_arguments({**given, **in_place}))


def tuned_file_of(run: Run) -> tuple[str, str] | None:
    """Return path and content of the file of a run's schedule or policy.

    ``None`` for a run whose schedule or policy ``moe-eval tune`` did not find.
    """
    setup = run.setup
    if setup is None or setup.tuning is None:
        return None
    k, policy = (str(setup.values.get(name)) for name in TUNED)
    point = SweepPoint("", k, policy, tuning=setup.tuning)
    return next(iter(kept_files([point]).items()))


def is_sweep(command: Sequence[str]) -> bool:
    """Whether a command is one of ``moe-eval sweep``, and not of a host."""
    return tuple(command[:2]) == SWEEP


def host_of(command: Sequence[str]) -> Harness | None:
    """Return the harness that a command runs; ``None`` for a command of another program."""
    if is_sweep(command):
        name = _value(command, "--host") or FIRST
        return harness(name) if name in PACKAGES else None
    for one in map(harness, PACKAGES):
        if tuple(command[: len(one.program)]) == one.program:
            return one
    return None


def with_option(command: Sequence[str], name: str, value: str) -> list[str]:
    """Return a command with an option set to one value, added where it is missing."""
    kept = list(command)
    if name in kept:
        kept[kept.index(name) + 1] = value
        return kept
    return [*kept[:-2], name, value, *kept[-2:]]


def with_checkpoint(command: Sequence[str], pretrained: str) -> list[str]:
    """Return a command with another checkpoint in the arguments of its model.

    A revision goes with the checkpoint that it was one of.
    """
    return _with_pretrained(command, pretrained, without={"pretrained", "revision"})


def with_recorded_checkpoint(command: Sequence[str], pretrained: str) -> list[str]:
    """Return a command with the checkpoint that its results record, if it names none itself.

    The environment of the original run named it then, which is not that of a rerun. Raises
    ``InvalidArgumentError`` for a sweep whose checkpoint cannot be known.
    """
    tool = _known_host(command)
    if tool.argument_names(_value(command, _model_args_of(command))) & {*NAMES_OF_MODELS}:
        return list(command)
    model = _value(command, "--model")
    if model in tool.pinnable and pretrained != UNKNOWN:
        return _with_pretrained(command, pretrained)
    if is_sweep(command):
        message = (
            f"The command of this bundle names no checkpoint for {model}, and a sweep needs one. "
            "Pass it with --pretrained."
        )
        raise InvalidArgumentError(message)
    return list(command)


def _with_pretrained(
    command: Sequence[str], pretrained: str, without: Collection[str] = ()
) -> list[str]:
    """Return a command whose model has this checkpoint before its other arguments."""
    tool, name = _known_host(command), _model_args_of(command)
    others = tool.read_arguments(_value(command, name)).items()
    kept = {argument: value for argument, value in others if argument not in without}
    return with_option(command, name, tool.write_arguments({"pretrained": pretrained, **kept}))


def _known_host(command: Sequence[str]) -> Harness:
    tool = host_of(command)
    if tool is None:
        message = f"{' '.join(command[:2])} is not a command of a host."
        raise InvalidArgumentError(message)
    return tool


def _model_args_of(command: Sequence[str]) -> str:
    """Return the name of the option with the arguments of the model."""
    return "--model-args" if is_sweep(command) else "--model_args"


def _value(command: Sequence[str], name: str) -> str:
    """Return the value of an option; empty if it is not given."""
    return command[command.index(name) + 1] if name in command else ""


def _axes(settings: Iterable[Setting], baselines: set[Setting]) -> Iterator[list[str]]:
    """Yield the options that make these settings: once, or for each routing rule.

    A sweep always adds the baseline, so it need not be a combination of the options. Policies that
    are at the published k alone are settings of their own.
    """
    wanted = list(settings)
    published = {k for k, _, _ in baselines}
    at_published = [one for one in wanted if one[0] in published and one[1] != UNIFORM]
    for alone in ([], at_published):
        of_k = [one for one in wanted if one not in alone]
        named = [one for one in of_k if one not in baselines]
        for chosen in (of_k, named):
            ks, policies, renorms = _values(chosen)
            own = [policy for _, policy, _ in alone]
            made = {
                *itertools.product(ks, policies, renorms),
                *itertools.product(published, own, renorms),
            }
            if chosen and made | baselines == set(wanted):
                yield _axis_options(ks, policies, renorms, list(dict.fromkeys(own)))
                return
    rules = dict.fromkeys(one[1:] for one in wanted)
    for policy, renorm in rules:
        ks = [one[0] for one in wanted if one[1:] == (policy, renorm)]
        yield _axis_options(ks, [policy], [renorm])


def _values(settings: Sequence[Setting]) -> tuple[list[str], list[str], list[str]]:
    """Return each k, each policy and each renormalisation in these settings, once."""
    ks, policies, renorms = (
        list(dict.fromkeys(one[axis] for one in settings)) for axis in range(3)
    )
    return ks, policies, renorms


def _axis_options(
    ks: list[str], policies: list[str], renorms: list[str], own: Sequence[str] = ()
) -> list[str]:
    alone = ["--policies", *own] if own else []
    return ["--experts-k", *ks, "--experts-policy", *policies, *alone, "--renorm", *renorms]


def _typed(manifest: Manifest, timed: Sequence[TimedPass]) -> list[str]:
    """Return the typed options that change speeds and no answers, which no setting records.

    Another machine may choose another batch size by itself: those that were timed are named.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--separate", action="store_true")
    for name in TYPED:
        parser.add_argument(name)
    parser.add_argument("--batch-sizes", nargs="+", default=[])
    try:
        given, _ = parser.parse_known_args(list(manifest.command[2:]))
    except argparse.ArgumentError:
        return []
    sizes = given.batch_sizes
    if not sizes and manifest.settings.get("batch_size") == "auto":
        sizes = dict.fromkeys(str(one.batch_size) for one in timed)
    return [
        *(["--separate"] if given.separate else []),
        *_options({name: getattr(given, name[2:].replace("-", "_")) for name in TYPED}),
        *(["--batch-sizes", *sizes] if sizes else []),
    ]


def _options(given: Mapping[str, object]) -> list[str]:
    """Return options and their values; an option that is not set is left out."""
    return [
        part
        for name, value in given.items()
        if value not in (None, "")
        for part in (name, str(value))
    ]
