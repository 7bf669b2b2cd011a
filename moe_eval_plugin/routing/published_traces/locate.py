"""Find the files of FLAME-MoE's traces below a folder.

Two layouts, of the data set CMU-FLAME/FLAME-MoE-Traces (its card), and of the scripts that capture
traces (``scripts/empirical_analysis/modules/capture_step2.sh`` and ``capture_step3.sh``)::

    flame-moe-290m/samples/000.parquet              .../samples/[NAME/JOB/]0-0.pt
    flame-moe-290m/actives/iter_5473/layer_02.parquet   .../actives/[NAME/JOB/]5473/2/0-0.pt

Layers are numbered from 1, and the first one has no experts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from moe_eval_plugin.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from pathlib import Path

ACTIVES, SAMPLES = "actives", "samples"
ITERATION = re.compile(r"(?:iter_)?(\d+)")
LAYER = re.compile(r"(?:layer_)?(\d+)(?:\.parquet)?")


@dataclass(frozen=True)
class Location:
    """The files of one iteration of one model."""

    model: str
    """Name of the model, with the number of the job where the folders have it."""
    iteration: int
    layers: dict[int, Path]
    """A Parquet file, or a folder of ``.pt`` files, for each layer, by its number from 1."""
    samples: Path | None
    """The folder of the token ids; ``None`` if there is none."""

    @property
    def is_parquet(self) -> bool:
        """Whether the files are those of the published data set."""
        return all(path.suffix == ".parquet" for path in self.layers.values())


def locate(folder: Path, iteration: int | None = None) -> Location:
    """Return the files of an iteration, by default the last one, of the traces in a folder.

    ``folder`` is that of a model, its ``actives``, or that of one iteration. Raises ``DataError``
    for a folder without traces, and ``InvalidArgumentError`` for an iteration that is not there.
    """
    if not folder.is_dir():
        message = f"{folder} is no folder. Name the folder of a model's traces."
        raise DataError(message)
    base = _iterations_folder(folder)
    layers = _layers(base)
    if layers:
        found = ITERATION.fullmatch(base.name)
        number = int(found[1]) if found else 0
        if iteration not in (None, number):
            message = f"{folder} holds iteration {number}, not {iteration}."
            raise InvalidArgumentError(message)
        return _location(base, number, layers)
    iterations = _numbered(base, ITERATION)
    wanted = max(iterations, default=0) if iteration is None else iteration
    layers = _layers(iterations[wanted]) if wanted in iterations else {}
    if not layers:
        _fail(folder, iterations, iteration)
    return _location(iterations[wanted], wanted, layers)


def _fail(folder: Path, iterations: dict[int, Path], wanted: int | None) -> NoReturn:
    if iterations and wanted is not None:
        known = ", ".join(map(str, sorted(iterations)))
        message = f"{folder} has no iteration {wanted}. It has {known}."
        raise InvalidArgumentError(message)
    message = (
        f"{folder} holds no traces of FLAME-MoE. Name a folder with {ACTIVES}/iter_N/"
        f"layer_N.parquet and {SAMPLES}/N.parquet, as in the data set CMU-FLAME/FLAME-MoE-Traces."
    )
    raise DataError(message)


def _iterations_folder(folder: Path) -> Path:
    """Return the folder of the iterations, below a name and a job number where these are alone."""
    base = folder / ACTIVES if (folder / ACTIVES).is_dir() else folder
    while True:
        inside = [path for path in base.iterdir() if path.is_dir()]
        is_chain = len(inside) == 1 and not _layers(inside[0]) and not _layers(base)
        if not is_chain:
            return base
        base = inside[0]


def _numbered(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    found = ((pattern.fullmatch(path.name), path) for path in folder.iterdir())
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def _layers(folder: Path) -> dict[int, Path]:
    """Return the layers of an iteration, by their numbers; none where it is no such folder."""
    return {
        number: path
        for number, path in _numbered(folder, LAYER).items()
        if (path.is_file() and path.suffix == ".parquet") or (path.is_dir() and _has_captures(path))
    }


def _has_captures(folder: Path) -> bool:
    return any(folder.glob("*.pt"))


def _location(folder: Path, iteration: int, layers: dict[int, Path]) -> Location:
    """Return the location of an iteration's folder, whose samples lie below the same root."""
    folder = folder.absolute()
    above = [path for path in folder.parents if path.name == ACTIVES]
    if not above:
        return Location(folder.parent.name, iteration, layers, None)
    actives = above[0]
    within = folder.parent.relative_to(actives)
    samples = actives.parent / SAMPLES / within
    name = within.as_posix() if within.parts else actives.parent.name
    return Location(name, iteration, layers, samples if samples.is_dir() else None)
