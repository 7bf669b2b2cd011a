"""``moe-eval tune``: find the schedule of k that loses least at a price."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import is_silent, show_end, shown
from moe_eval_plugin.commands.hidden_libraries import libraries_hidden
from moe_eval_plugin.commands.prompt_options import add_asked_model
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.commands.tune_options import (
    OF_THE_REQUEST,
    add_output,
    add_questions,
    add_search,
)
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from moe_eval_plugin.api.tuning import Tuning
    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.tuning.frontier.point import FrontierPoint
    from moe_eval_plugin.tuning.study.study import CalibratedPolicy

# A schedule costs more than a uniform k where it does by more than this.
SAME_PRICE = 1.02
# So many files are named one by one.
MOST_FILES = 3

DESCRIPTION = """\
Find, at each price, the schedule of experts per token that loses least: layers differ in how many
experts they need. It needs no expected answers. First k is lowered in one layer at a time, on
calibration prompts, and the loss is measured: how far the probabilities of the answer's tokens move
away from those of the published model. The schedule of least total loss at the price is then found
exactly, and the best few are measured as a whole, with the uniform k of the same price.

The folder of --output gets tuned-SHARE.yaml (a schedule for `experts_k=@FILE`), tuning.json (the
study), sensitivities.csv and frontier.csv. A loss is no accuracy: `moe-eval sweep` measures that,
on questions that took no part in choosing. An interrupted study continues with the same command.
"""
EPILOG = """\
examples:
  moe-eval tune demo --tasks easy_vqa --target 0.5 --output runs/tuned
  moe-eval tune demo --tasks easy_vqa --output runs/frontier
  moe-eval tune MODEL --tasks okvqa --target 0.5 --unit flops \\
    --by modality --output half.yaml
  moe-eval sweep -a pretrained=demo -t easy_vqa --output runs/sweep \\
    --experts-k 8 4 @runs/tuned/tuned-0.5.yaml
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(verbs, "tune", run, "find the best k for each layer", (DESCRIPTION, EPILOG))
    verb.add_argument(
        "model", metavar="MODEL", help="a folder, a model id of the Hub, or demo (embedded)"
    )
    add_questions(verb.add_argument_group("what to calibrate on"))
    add_search(verb.add_argument_group("what to search for"))
    add_asked_model(verb.add_argument_group("model"))
    add_output(verb.add_argument_group("output"))


def run(options: argparse.Namespace) -> int:
    """Write the study and its schedules, and print what was found and how to use it."""
    if not options.tasks and not options.data_free:
        message = (
            "moe-eval tune needs --tasks, or --data-free. For example: moe-eval tune demo --tasks "
            "easy_vqa --target 0.5 --output runs/tuned"
        )
        raise InvalidArgumentError(message)
    from moe_eval_plugin.api.tuning import Tuning, tune_command, tune_request
    from moe_eval_plugin.tuning.study.run import tune

    given = {name: getattr(options, name) for name in OF_THE_REQUEST}
    set_ones = {name: value for name, value in given.items() if value not in (None, False)}
    request = tune_request(options.model, options.tasks or (), set_ones)
    command = shlex.join(tune_command(request, options.output))
    with Status.of(options) as status, libraries_hidden(status, verbose=options.verbose):
        study = tune(request, options.output, command, status)
    _show(options, Tuning(options.output, study))
    return 0


def _show(options: argparse.Namespace, tuning: Tuning) -> None:
    """Print the schedules with their losses, and the commands that use them."""
    if options.json:
        print(json.dumps(_content(tuning), indent=2, ensure_ascii=False))
        return
    print(tuning)
    if is_silent(options):
        return
    schedules = tuning.schedules
    n_tried = (
        f"Settings measured on these prompts: {tuning.study.n_tried:,}. Judge the schedules on "
        "other questions."
    )
    found = [*_findings([one.point for one in schedules]), *map(_policy, tuning.study.policies)]
    found += [n_tried, *tuning.study.notes]
    files = [*(one.path for one in schedules), *tuning.policies]
    if len(files) > MOST_FILES:
        where = f"{len(files)} schedules and policies, and all numbers: {shown(tuning.path)}"
    else:
        where = f"{', '.join(map(shown, files))}; all numbers: {shown(tuning.path)}"
    show_end("", *found, where, following=_sweep_command(options, tuning))
    better = [one for one in schedules if one.point.verdict != "not better"] or schedules
    show_end(following=f"moe-eval schedule show {shown(better[-1].path)}")


def _findings(points: Sequence[FrontierPoint]) -> list[str]:
    """Return in words which schedules are not better than the uniform k of their price."""
    same = [one for one in points if one.experts_k == str(one.uniform_k)]
    worse = [one for one in points if one.verdict == "not better" and one not in same]
    unclear = [one for one in points if one.verdict == "no clear difference"]
    dearer = [one for one in points if (one.uniform_price or 1.0) * SAME_PRICE < one.price]
    found = []
    if dearer:
        found.append(
            f"Dearer than the uniform k beside it, which favours the schedule: {_names(dearer)}. "
            "No larger k of those that are considered (--experts-k) fits the target everywhere."
        )
    if unclear:
        found.append(
            f"Not clearly better than the uniform k of its price: {_names(unclear)}. More "
            "questions (--calibration) would tell."
        )
    if worse:
        found.append(f"Not better than the uniform k of its price: {_names(worse)}.")
    if same:
        found.append(
            f"No schedule was found that is better than the uniform k of its price: {_names(same)} "
            "holds that k."
        )
    return found


def _policy(one: CalibratedPolicy) -> str:
    """Return in words what a calibrated policy uses and loses."""
    error = one.loss.standard_error
    spread = "" if error is None else f" ± {error:.2g}"
    return (
        f"{one.name} uses {one.mean_k:.3g} experts per token ({one.price:.3g} of the published) "
        f"and loses {one.loss.mean:.2g}{spread}."
    )


def _names(points: Sequence[FrontierPoint]) -> str:
    return ", ".join(one.name for one in points)


def _content(tuning: Tuning) -> dict[str, Any]:
    schedules = [
        {**row, "file": str(one.path), "name": one.point.name}
        for row, one in zip(tuning.table, tuning.schedules, strict=True)
    ]
    study = tuning.study
    return {
        "folder": str(tuning.path),
        "study": str(tuning.path / "tuning.json"),
        "unit": study.prices.unit,
        "by": study.by,
        "n_prompts": study.n_prompts,
        "n_tried": study.n_tried,
        "schedules": schedules,
        "policies": [str(path) for path in tuning.policies],
        "notes": list(study.notes),
    }


def _how_asked(options: argparse.Namespace) -> list[str]:
    """Return the options by which a sweep asks the tasks as they were asked here."""
    given = {
        "--include-path": options.include_path,
        "--num-fewshot": options.num_fewshot,
        "--device": options.device,
    }
    words = [word for name, one in given.items() if one is not None for word in (name, str(one))]
    return [*words, *(["--apply-chat-template"] if options.apply_chat_template else [])]


def _sweep_command(options: argparse.Namespace, tuning: Tuning) -> str:
    """Return the command that measures the schedules and the uniform k of their prices."""
    if not options.tasks:
        return ""
    ks = {tuning.study.sensitivities.baseline, *(one.uniform_k for one in tuning.study.points)}
    # A sweep refuses two settings of the same experts, and two targets may have one schedule.
    tuned: dict[str, str] = {}
    for one in tuning.schedules:
        if one.point.verdict != "not better":
            tuned.setdefault(one.point.experts_k, str(one))
    settings = [*map(str, sorted((k for k in ks if k), reverse=True)), *tuned.values()]
    words = [*(["--host", options.host] if options.host else []), "--model-args"]
    words.append(",".join(filter(None, [f"pretrained={options.model}", options.model_args])))
    output = Path("runs", f"{Path(options.model).name}-{tuning.path.name}")
    words += ["--tasks", *options.tasks, *_how_asked(options)]
    words += ["--experts-k", *settings]
    if tuning.policies:
        words += ["--policies", *(f"@{path}" for path in tuning.policies)]
    words += ["--output", str(output)]
    return f"moe-eval sweep {shlex.join(words)}"
