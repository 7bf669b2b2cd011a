"""Write a sweep as a study file, which ``moe-eval sweep FILE`` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from moe_eval_plugin.files import write_files
from moe_eval_plugin.option_values import DECIMAL, WHOLE, argument_parts
from moe_eval_plugin.publish.bundle.commands import OUTPUT, sweep_commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.sweeps.manifest import Manifest

STUDY = "study.yaml"
# The options that a study can have, in the order in which they are written.
STUDY_OPTIONS = (
    *(
        "host",
        "model",
        "model_args",
        "checkpoints",
        "tasks",
        "experts_k",
        "experts_policy",
        "policies",
        "renorm",
        "seeds",
    ),
    *("limit", "batch_size", "device", "gen_kwargs", "include_path", "num_fewshot"),
    *("apply_chat_template", "output", "speed_precision"),
    *("speed_budget", "batch_sizes", "timing_rounds", "timing_seed", "launcher"),
    *("launcher_options", "gpus_per_point", "separate", "processes_per_point", "input_cache_gib"),
)
# Options whose value may be written as a mapping: ``name: value`` for ``name=value``.
MAPPINGS = ("model_args", "gen_kwargs", "launcher_options")
# Options that have no value on a command line.
FLAGS = ("apply_chat_template", "separate")
# Values that a command built from results names, and a reader need not.
DEFAULTS = {"model": "moe_hf", "experts_policy": "uniform", "renorm": "native"}
COMMENT = "# The settings of a sweep. Run it with: moe-eval sweep {name}{more}\n"


def save_studies(manifest: Manifest) -> None:
    """Write the study files of a sweep into its folder; those of an earlier command are replaced.

    Raises ``DataError``.
    """
    write_files(study_texts(sweep_commands(manifest)), manifest.folder, force=True)


def study_texts(commands: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the study files of the commands of one sweep, by name; a file for each command."""
    names = [STUDY, *(f"study-{number}.yaml" for number in range(2, len(commands) + 1))]
    studies = map(study_of, commands)
    return {name: study_text(study, name) for name, study in zip(names, studies, strict=True)}


def study_of(command: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command ``moe-eval sweep ...`` by name, as a study has them."""
    found: dict[str, list[str]] = {}
    for part in command[2:]:
        if part.startswith("--"):
            name, equals, value = part[2:].partition("=")
            values = found.setdefault(name.replace("-", "_"), [value] if equals else [])
        else:
            values.append(part)
    kept = {name: found[name] for name in STUDY_OPTIONS if name in found}
    for name, default in DEFAULTS.items():
        if kept.get(name) == [default]:
            del kept[name]
    return {name: _value(name, values) for name, values in kept.items() if values != [OUTPUT]}


def study_text(study: Mapping[str, Any], name: str = STUDY) -> str:
    """Return a study as YAML: lists in one line, mappings over several."""
    more = "" if "output" in study else " --output FOLDER"
    parts = [COMMENT.format(name=name, more=more)]
    for key, value in study.items():
        parts.append(
            yaml.safe_dump(
                {key: value},
                default_flow_style=None if isinstance(value, list) else False,
                sort_keys=False,
                allow_unicode=True,
            )
        )
    return "".join(parts)


def _value(name: str, values: Sequence[str]) -> object:
    if not values:
        return True
    # A JSON object, which lm-eval takes too, stays one: its values may be nested.
    if name in MAPPINGS and not any(one.lstrip().startswith("{") for one in values):
        read = [_mapping(one) for one in values]
        if name == "launcher_options":
            return {key: value for one in read for key, value in one.items()}
        return read[0] if len(read) == 1 else read
    return _plain(values[0]) if len(values) == 1 else [_plain(one) for one in values]


def _mapping(text: str) -> dict[str, object]:
    pairs = [part.partition("=") for part in argument_parts(text)]
    return {name.strip(): _plain(value.strip()) for name, _, value in pairs}


def _plain(text: str) -> object:
    """Return a text as the number or the yes or no that YAML writes with the same characters."""
    for form, kind in ((WHOLE, int), (DECIMAL, float)):
        if form.fullmatch(text) and str(kind(text)) == text:
            return kind(text)
    return {"true": True, "false": False}.get(text, text)
