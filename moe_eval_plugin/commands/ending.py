"""The last lines of a command: its result, where that is, and the next command."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import MoEEvalError
from moe_eval_plugin.text import wrap, wrap_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from moe_eval_plugin.report.answer.answer import Answer

MARGIN_POINTS = 1.0
# Of the lines after the first one of a result.
INDENT = "  "


def is_silent(options: argparse.Namespace) -> bool:
    """Whether a command prints no last lines: with ``--json`` or ``--quiet``."""
    return bool(getattr(options, "json", False) or getattr(options, "quiet", False))


def show_end(*results: str, where: str = "", following: str = "") -> None:
    """Print results, a line for each, where they are, and the command to run next."""
    for result in results:
        print("\n".join(wrap(result, rest=INDENT)))
    if where:
        print(where)
    if following:
        print("\n".join(wrap_command(following, first="Next: ")))


def shown(path: Path) -> str:
    """Return a path as an argument of a shell, relative to the current folder if it is below it."""
    try:
        short = path.absolute().relative_to(Path.cwd())
    except ValueError:
        short = path
    return shlex.quote(os.fspath(short))


def sweep_command(model: str, revision: str | None = None) -> str:
    """Return the command that sweeps over k of a model, on a task that it can be asked.

    With images that is the one that needs no data; a model of text is one of lm-eval's.
    """
    from moe_eval_plugin.conversion.output.manifest import MANIFEST
    from moe_eval_plugin.models.stated_experts import is_text_only

    output = Path("runs", Path(model).name)
    is_text = is_text_only(model, revision)
    host, task = ("--host lm-eval ", "arc_easy") if is_text else ("", "easy_vqa")
    if (Path(model) / MANIFEST).is_file():
        task = "flame_moe"  # the suite of the models that are converted
    arguments = f"{host}--model-args {shlex.quote(f'pretrained={model}')} --tasks {task}"
    return f"moe-eval sweep {arguments} --output {shlex.quote(str(output))}"


def answers(folder: Path, margin_points: float = MARGIN_POINTS) -> list[Answer]:
    """Return what to use of each series of a finished sweep; none where that cannot be computed.

    It needs no extra package.
    """
    from moe_eval_plugin.report.analysis.statistics import compute
    from moe_eval_plugin.report.answer.answer import answer
    from moe_eval_plugin.report.read_series import read_series

    try:
        return [answer(compute(one, margin_points)) for one in read_series([folder])]
    except MoEEvalError:
        # The results are complete without a verdict, and their own commands say what is wrong.
        return []


def answer_lines(one_each: Iterable[Answer]) -> Iterator[str]:
    """Yield the sentence of each answer, with model and task where there are several."""
    found = list(one_each)
    names = [{one.series for one in found}, {one.task for one in found}]
    for one in found:
        several = zip((one.series, one.task), names, strict=True)
        named = ", ".join(name for name, known in several if len(known) > 1)
        yield f"{named}: {one.sentence}" if named else one.sentence
