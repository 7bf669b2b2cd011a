"""Find schedules of k that lose least at a price, from a Python program or a notebook."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from moe_eval_plugin.api.progress_bar import ProgressBar
from moe_eval_plugin.api.python_names import python_names
from moe_eval_plugin.api.table import Table, Value, make_table
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.files import short_digest
from moe_eval_plugin.hosts.harness import default_host
from moe_eval_plugin.prompts.progress import NoProgress
from moe_eval_plugin.text import did_you_mean
from moe_eval_plugin.tuning.prompts.request import N_QUESTIONS, CalibrationRequest
from moe_eval_plugin.tuning.study.folder import StudyPaths, read_study
from moe_eval_plugin.tuning.study.request import NAMES, TuneRequest
from moe_eval_plugin.tuning.study.run import tune as run_study

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from moe_eval_plugin.experts.schedules.tuning_record import By, TuningRecord, Unit
    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.tuning.frontier.point import FrontierPoint
    from moe_eval_plugin.tuning.sensitivities import Loss
    from moe_eval_plugin.tuning.study.study import TuningStudy

RUNS = Path("runs")
PARAMETERS = ("tasks", "target", "calibration", "unit", "by", "output", "model_args")
LONGEST_NAME, DIGITS = 60, 6
LONGEST_SCHEDULE = 40
# The fields of options.
FIELDS = {option: field for field, option in NAMES.items()}


class TuneKeywords(TypedDict, total=False):
    """More keyword arguments of ``tune``: options of ``moe-eval tune``."""

    calibration_split: str | None
    """Split of the data from which the calibration questions come."""
    data_free: bool
    """Use random tokens instead of questions."""
    answer_tokens: int
    """Most tokens of each answer that are compared."""
    policy: str | Sequence[str]
    """Names of policies to calibrate at each target."""
    experts_k: int | Sequence[int]
    """The values of k below the published one to choose from."""
    seed: int
    """Seed for choosing the questions."""
    host: str | None
    """``lmms-eval``, the default if it is installed, or ``lm-eval``."""
    batch_size: int
    """Prompts in a batch."""
    device: str | None
    """Device, such as ``cpu`` or ``cuda``."""
    include_path: str | Path | None
    """A folder with more tasks."""
    num_fewshot: int | None
    """Examples in each prompt, with lm-eval."""
    apply_chat_template: bool
    """Pass prompts through the chat template, with lm-eval."""
    progress: bool | Progress
    """Whether to show a progress bar, or an object that shows the progress."""


def tune(
    pretrained: str,
    tasks: str | Sequence[str] = (),
    target: float | Sequence[float] = (),
    *,
    calibration: int = N_QUESTIONS,
    unit: Unit = "experts",
    by: By = "layer",
    output: str | Path | None = None,
    **options: Unpack[TuneKeywords],
) -> Tuning:
    """Return the schedule of k that loses the least at each target, found on calibration questions.

    Arguments have the names and meanings of the options of ``moe-eval tune``. ``pretrained`` is a
    folder, an id of the Hub, or ``"demo"``. The default of ``target`` is the price of each smaller
    uniform k. The default of ``output`` is a folder below ``runs/``, the same for the same
    request::

        tuned = moe.tune("demo", tasks="easy_vqa", target=[0.5, 0.25], calibration=64)
        moe.sweep("demo", "easy_vqa", experts_k=[8, 4, 2, *tuned.schedules])

    Call ``tune`` again after an interruption, and it continues where it stopped. Raises
    ``UserError`` for a model or a request that cannot be tuned.
    """
    names = {*PARAMETERS, *TuneKeywords.__annotations__}
    _refuse_unknown(options, names)
    shown = _progress(options.pop("progress", True))
    with python_names(names):
        given = {**options, "calibration": calibration, "unit": unit, "by": by, "target": target}
        request = tune_request(pretrained, _listed(tasks), given)
        folder = Path(output) if output is not None else RUNS / _folder_name(request)
        command = shlex.join(tune_command(request, folder))
        try:
            study = run_study(request, folder, command, shown)
        finally:
            if isinstance(shown, ProgressBar):
                shown.close()
    return Tuning(folder, study)


def load_tuning(output: str | Path) -> Tuning:
    """Return a finished study from its folder, or from the FILE.yaml that was its ``output``.

    Raises ``DataError`` if there is none.
    """
    return Tuning(Path(output), read_study(StudyPaths.of(Path(output)).folder))


class Tuning:
    """The result of ``tune``: a schedule of k for each target, with its loss."""

    def __init__(self, output: Path, study: TuningStudy) -> None:
        self.study = study
        """All measurements and results, as in ``tuning.json``."""
        self._paths = StudyPaths.of(output)

    @property
    def path(self) -> Path:
        """The folder of the study."""
        return self._paths.folder

    @property
    def schedules(self) -> list[TunedSchedule]:
        """The schedule of each target, from the highest price to the lowest."""
        return [
            TunedSchedule(self._paths.file(point.name), point, self.study.record(point))
            for point in self.study.points
        ]

    @property
    def policies(self) -> list[Path]:
        """The files of the calibrated policies."""
        return [self._paths.file(one.name) for one in self.study.policies]

    @property
    def table(self) -> Table:
        """A row for each target: the schedule, its losses, and the losses of the uniform k."""
        heads = [
            *(("target", "Target"), ("price", "Price"), ("experts_k", "Schedule")),
            *(("predicted_loss", "Predicted"), ("loss", "Measured")),
            *(("uniform_k", "Uniform k"), ("uniform_price", "its price")),
            ("uniform_loss", "its loss"),
            ("verdict", "Than uniform"),
        ]
        caption = (
            "Losses in nats per answer token, against the published model, on the "
            f"{self.study.n_prompts:,} prompts that the schedules were chosen on."
        )
        return make_table(heads, [list(_cells(one)) for one in self.study.points], caption)

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a data frame; raises ``MissingDependencyError`` without pandas."""
        return self.table.to_pandas()

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it."""
        return self.table._repr_html_()


@dataclass(frozen=True)
class TunedSchedule:
    """The schedule of one target. ``str`` of it is an ``experts_k`` that reads its file."""

    path: Path
    """File of the schedule."""
    point: FrontierPoint
    """The schedule, its price and its losses."""
    tuning: TuningRecord
    """How the schedule was found."""

    def __str__(self) -> str:
        return f"@{self.path}"


def tune_request(
    pretrained: object, tasks: Sequence[str], options: Mapping[str, object]
) -> TuneRequest:
    """Return the request that options of ``moe-eval tune`` make; those that are ``None`` are off.

    Raises ``InvalidArgumentError`` for a value that is not possible.
    """
    if not isinstance(pretrained, str | Path):
        message = (
            f"tune loads the model itself, and {type(pretrained).__name__} is not its name. Pass a "
            'folder, an id of the Hub, or "demo".'
        )
        raise InvalidArgumentError(message)
    given = {FIELDS.get(n, n): value for n, value in options.items() if value is not None}
    of_calibration = {
        name: given.pop(name) for name in CalibrationRequest.__dataclass_fields__ if name in given
    }
    if "include_path" in of_calibration:
        of_calibration["include_path"] = str(of_calibration["include_path"])
    of_calibration.setdefault("host", default_host())
    names = [name for one in tasks for name in one.split(",") if name]
    calibration = CalibrationRequest(
        str(pretrained), tuple(dict.fromkeys(names)), **cast("dict[str, Any]", of_calibration)
    )
    for name in ("targets", "policies", "experts_k"):
        given[name] = tuple(_several(given.get(name, ())))
    return TuneRequest(calibration, **cast("dict[str, Any]", given))


def tune_command(request: TuneRequest, output: Path) -> list[str]:
    """Return the words of the command that repeats a study."""
    settings = request.settings()
    words = ["moe-eval", "tune", str(settings.pop("model"))]
    for name, value in {**settings, "output": output}.items():
        if value in (None, False, "", []):
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words += map(str, value if isinstance(value, list) else [value])
    return words


def _cells(point: FrontierPoint) -> Iterator[tuple[Value, str]]:
    yield point.target, f"{point.target:g}"
    yield point.price, f"{point.price:.4g}"
    short = point.experts_k
    if len(short) > LONGEST_SCHEDULE:
        short = f"{short[: LONGEST_SCHEDULE - 3]}..."
    yield point.experts_k, short
    yield point.predicted_loss, f"{point.predicted_loss:.2g}"
    yield point.loss.mean, _loss_text(point.loss)
    yield point.uniform_k, "-" if point.uniform_k is None else str(point.uniform_k)
    price, uniform = point.uniform_price, point.uniform_loss
    yield price, "-" if price is None else f"{price:.4g}"
    yield (uniform.mean, _loss_text(uniform)) if uniform else (None, "-")
    yield point.verdict, point.verdict or "-"


def _loss_text(loss: Loss) -> str:
    error = loss.standard_error
    return f"{loss.mean:.2g}" if error is None else f"{loss.mean:.2g} ± {error:.2g}"


def _several(value: object) -> list[object]:
    return (
        [value] if isinstance(value, str | int | float) else list(cast("Iterable[object]", value))
    )


def _listed(given: str | Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _progress(wanted: object) -> Progress:
    if isinstance(wanted, bool):
        return ProgressBar() if wanted else NoProgress()
    return cast("Progress", wanted)


def _refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            message = (
                f"tune has no argument {name}.{did_you_mean(name, known)} All are those of "
                "`moe-eval tune --help`."
            )
            raise InvalidArgumentError(message)


def _folder_name(request: TuneRequest) -> str:
    digest = short_digest(request.settings())[:DIGITS]
    tasks = "-".join(request.calibration.tasks) or "data-free"
    name = f"tuned-{PurePath(request.calibration.pretrained).name}-{tasks}"
    return f"{name[:LONGEST_NAME]}-{digest}"
