"""Ask a model the same questions at each k, from a Python program or a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Unpack, cast

from moe_eval_plugin.api.python_names import python_names
from moe_eval_plugin.api.runs import Sweep, load
from moe_eval_plugin.api.sweeping.notebook_progress import NotebookProgress
from moe_eval_plugin.api.sweeping.options import SweepOptions, make_plan, make_request
from moe_eval_plugin.api.sweeping.progress import NoProgress
from moe_eval_plugin.api.sweeping.ready import check_model, read_tasks
from moe_eval_plugin.api.sweeping.request import check_early
from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.files import short_digest
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moe_eval_plugin.api.sweeping.progress import SweepProgress
    from moe_eval_plugin.api.sweeping.ready import SweepResult
    from moe_eval_plugin.api.sweeping.request import SweepRequest
    from moe_eval_plugin.sweeps.plan import SweepPlan

RUNS = Path("runs")
BACKEND = "moe_hf"
PARAMETERS = ("tasks", "experts_k", "limit", "output", "model", "model_args", "progress")
LONGEST_NAME = 60
DIGITS = 6


def sweep(
    pretrained: str,
    tasks: str | Sequence[str],
    experts_k: int | str | Sequence[int | str] = (),
    *,
    limit: int | None = None,
    output: str | Path | None = None,
    model: str = BACKEND,
    model_args: str | Mapping[str, object] = "",
    **options: Unpack[SweepKeywords],
) -> Sweep:
    """Ask a model the same questions at each k, time all k, and return the results.

    Arguments have the names and meanings of the options of ``moe-eval sweep``. ``pretrained`` is a
    folder, an id of the Hub, or ``"demo"``, and ``model`` is the backend. The default of
    ``experts_k`` is the published k, halved down to 1. The default of ``output`` is a folder below
    ``runs/``, the same for the same model, tasks and settings::

        sweep = moe.sweep("demo", tasks="easy_vqa", experts_k=[8, 4, 2, 1], limit=300)
        sweep.recommend(within=1.0)
        moe.sweep("allenai/OLMoE-1B-7B-0924", tasks="arc_easy", host="lm-eval")

    Call ``sweep`` again after an interruption, and it continues where it stopped. If all settings
    are done, it returns immediately. ``progress=False`` shows nothing. Pass an object with the
    methods of ``SweepProgress`` to show the steps yourself.

    Raises ``UserError`` for a sweep that cannot run, before a weight is read. A setting that fails
    does not stop the others: see ``Sweep.unfinished``.
    """
    keywords = {*SweepKeywords.__annotations__}
    _refuse_unknown(options, keywords)
    progress = _progress(options.pop("progress", True))
    ks = tuple(_listed(experts_k))
    with python_names({*PARAMETERS, *keywords}):
        given = None if output is None else Path(output)
        arguments = _model_args(pretrained, model_args)
        plan = make_plan(model, arguments, _listed(tasks), limit, options, given)
        folder = given or RUNS / _folder_name(pretrained, plan)
        command = _command(plan, ks, folder, options)
        request = make_request(folder, plan, ks, options, command)
        return _loaded(folder, _run(request, progress))


class SweepKeywords(SweepOptions, total=False):
    """More keyword arguments of ``sweep``."""

    progress: bool | SweepProgress
    """Whether to show a progress bar, or an object that shows the progress."""


def _run(request: SweepRequest, progress: SweepProgress) -> SweepResult:
    check_early(request)
    with closing(progress):
        progress.doing("importing transformers, and checking the model")
        checked = check_model(request)
        if checked.baseline_added:
            published = checked.plan.points[0].experts_k
            progress.note(f"Added k={published}, the published k, as the baseline.")
        progress.doing(f"importing {checked.plan.host}, and reading the tasks and their data")
        return read_tasks(request, checked).run(progress)


def _loaded(folder: Path, result: SweepResult) -> Sweep:
    """Return the settings that are done, and what failed; ``DataError`` where all failed."""
    if len(result.failed) == len(result.names):
        reasons = "\n  ".join(f"{name}: {reason}" for name, reason in result.failed.items())
        message = f"No setting of the sweep in {folder} has results:\n  {reasons}"
        raise DataError(message)
    problems = [f"{name} failed: {reason}" for name, reason in result.failed.items()]
    if not result.is_timed:
        problems.append("The timed pass failed. Call it again to time what is left.")
    found = load(folder)
    return Sweep(found.path, found.statistics, problems=tuple(problems))


def _progress(wanted: object) -> SweepProgress:
    """Return what shows the progress; it may be wanted, not wanted, or be such an object."""
    if isinstance(wanted, bool):
        return NotebookProgress() if wanted else NoProgress()
    return cast("SweepProgress", wanted)


def _listed(given: int | str | Iterable[int | str]) -> list[str]:
    return [str(given)] if isinstance(given, int | str) else [str(one) for one in given]


def _refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            hint = did_you_mean(name, [*known, *PARAMETERS])
            message = (
                f"sweep has no argument {name}.{hint} All are those of `moe-eval sweep --help`."
            )
            raise InvalidArgumentError(message)


def _model_args(pretrained: object, model_args: str | Mapping[str, object]) -> str:
    """Return the arguments of the model as text, the checkpoint first."""
    if not isinstance(pretrained, str | Path):
        message = (
            f"sweep loads the model itself, and {type(pretrained).__name__} is not its name. Pass "
            'a folder, an id of the Hub, or "demo"; experts_k sets k in a model that is loaded.'
        )
        raise InvalidArgumentError(message)
    parts = [f"pretrained={pretrained}"]
    if isinstance(model_args, Mapping):
        parts += [f"{name}={value}" for name, value in model_args.items()]
    elif model_args:
        parts.append(model_args)
    return ",".join(parts)


def _folder_name(pretrained: str, plan: SweepPlan) -> str:
    """Return the name of a folder: the same for all k of the same questions."""
    digest = short_digest(plan.own_settings())[:DIGITS]
    words = "-".join((PurePath(pretrained).name, *plan.tasks)).replace("*", "")
    return f"{words[:LONGEST_NAME]}-{digest}"


def _command(
    plan: SweepPlan, ks: Sequence[str], folder: Path, options: SweepOptions
) -> tuple[str, ...]:
    """Return the command that runs the same sweep."""
    given: dict[str, object] = {
        "model": plan.model,
        "model_args": plan.model_args,
        "experts_k": ks,
        "tasks": plan.tasks,
        "limit": plan.limit,
        **options,
        "output": folder,
    }
    return ("moe-eval", "sweep", *_parts(given))


def _parts(given: Mapping[str, object]) -> Iterator[str]:
    for name, value in given.items():
        texts = [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]
        if value is None or value is False or not texts:
            continue
        yield f"--{name.replace('_', '-')}"
        if value is not True:
            yield from texts
