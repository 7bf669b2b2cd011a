"""The folder of a study of tuning: whose it is, and its files, each whole or not there."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile
from moe_eval_plugin.files import is_file, write_all, write_whole
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.option_values import read_new_folder
from moe_eval_plugin.sweeps.manifest import LOCK, locked
from moe_eval_plugin.tuning.study.as_json import study_from_dict, study_to_dict
from moe_eval_plugin.tuning.study.tables import frontier_csv, sensitivities_csv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from moe_eval_plugin.tuning.study.study import TuningStudy

STUDY, REQUEST = "tuning.json", "request.json"
SENSITIVITIES, FRONTIER = "sensitivities.csv", "frontier.csv"
JOURNAL = "losses.jsonl"
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class StudyPaths:
    """Where a study is written: a folder, and for one target its schedule apart from it."""

    folder: Path
    """The folder of the study."""
    schedule: Path | None = None
    """The file of the only schedule, if the user named one."""

    @classmethod
    def of(cls, output: Path) -> StudyPaths:
        """Return the paths of an ``--output``; with FILE.yaml the folder has its name."""
        if output.suffix in SUFFIXES:
            return cls(output.with_suffix(""), output)
        return cls(output)

    def name(self, target: float) -> str:
        """Return the name of the schedule of a target: that of its file without suffix."""
        return self.schedule.stem if self.schedule else f"tuned-{target:g}"

    def file(self, name: str) -> Path:
        """Return the path of the schedule or policy with a name."""
        if self.schedule is not None and name == self.schedule.stem:
            return self.schedule
        return self.folder / f"{name}.yaml"

    @property
    def is_finished(self) -> bool:
        """Whether all files of a study are there."""
        return is_file(self.folder / STUDY)

    def check_place(self) -> None:
        """Raise ``InvalidArgumentError`` for an output that is no place for a study.

        The folder must be new or empty, or have been begun by this command.
        """
        for folder in dict.fromkeys((self.folder, self.schedule.parent if self.schedule else None)):
            if folder is not None:
                read_new_folder("--output", folder)
        content = self.folder.iterdir() if self.folder.is_dir() else ()
        is_new = all(path.name == LOCK for path in content)
        if is_new and self.schedule is not None and self.schedule.exists():
            message = f"--output {self.schedule} exists. Choose another name, or remove it."
            raise InvalidArgumentError(message)
        if not is_new and _request_of(self.folder) is None:
            message = (
                f"--output {self.folder} is not empty, and moe-eval tune did not write it. Pass a "
                "new or empty folder, or that of the same request, which is continued."
            )
            raise InvalidArgumentError(message)

    def check(self, facts: Mapping[str, Any]) -> None:
        """Raise ``InvalidArgumentError`` unless a study with these facts can be written here.

        They are the settings of the request, and what identifies the weights.
        """
        self.check_place()
        found = _request_of(self.folder)
        if found is None:
            return
        wanted = json.loads(json.dumps(facts))
        changed = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
        if changed:
            name = changed[0]
            message = (
                f"--output {self.folder} has a study of another request: {_shown(name)} was "
                f"{_text(found.get(name))} there, and is {_text(wanted.get(name))} here. Pass "
                "another folder."
            )
            raise InvalidArgumentError(message)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for this process; it is gone again if no study was begun in it.

        Raises ``UserError`` if another process works in it.
        """
        made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        with locked(self.folder, "moe-eval tune"):
            try:
                yield
            finally:
                if _request_of(self.folder) is None:
                    (self.folder / LOCK).unlink(missing_ok=True)
                    with suppress(OSError):
                        for path in made:
                            path.rmdir()

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Make the folder and note whose it is, so that the same request continues in it.

        Raises ``InvalidArgumentError`` as ``check`` does, and ``DataError`` if it cannot be
        written.
        """
        self.check(facts)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / REQUEST, json.dumps(facts, indent=2) + "\n")
        except OSError as error:
            raise _not_written(self.folder, error) from error

    def write(self, study: TuningStudy) -> list[Path]:
        """Write all files of a finished study, or none; return those of schedules and policies.

        Raises ``DataError`` if they cannot be written.
        """
        tuned = {self.file(name): file.text for name, file in tuned_files(study).items()}
        content = {
            **tuned,
            self.folder / SENSITIVITIES: sensitivities_csv(study),
            self.folder / FRONTIER: frontier_csv(study),
            self.folder / STUDY: json.dumps(study_to_dict(study)) + "\n",
        }
        try:
            write_all({path: text.encode() for path, text in content.items()}, self.folder)
        except OSError as error:
            raise _not_written(self.folder, error) from error
        return list(tuned)

    def write_missing(self, study: TuningStudy) -> None:
        """Write the schedules and policies of a finished study that are not there any more.

        Raises ``DataError`` if they cannot be written.
        """
        files = {self.file(name): file.text for name, file in tuned_files(study).items()}
        missing = {path: text.encode() for path, text in files.items() if not is_file(path)}
        try:
            write_all(missing, self.folder)
        except OSError as error:
            raise _not_written(self.folder, error) from error


def tuned_files(study: TuningStudy) -> dict[str, TunedFile]:
    """Return the files of all schedules and policies that a study found, by name."""
    rows = study.sensitivities.rows
    files = {
        point.name: TunedFile(
            schedule=parse_experts_k(point.experts_k),
            tuning=study.record(point),
            sensitivities=rows,
        )
        for point in study.points
    }
    for policy in study.policies:
        record = study.policy_record(policy)
        files[policy.name] = TunedFile(policy=policy.experts_policy, tuning=record)
    return files


def read_study(folder: Path) -> TuningStudy:
    """Return the study in a folder; ``DataError`` where there is none, or it is not finished."""
    path = folder / STUDY
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        message = (
            f"{folder} has no finished study ({STUDY}): {error}. Run moe-eval tune with this "
            "--output, or pass the folder of a study."
        )
        raise DataError(message) from error
    if not isinstance(values, dict):
        message = f"{path} is not a study of moe-eval tune."
        raise DataError(message)
    return study_from_dict(JsonObject(values, str(path)))


def _request_of(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / REQUEST).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _shown(name: str) -> str:
    return (
        "the model" if name == "model" else name if " " in name else f"--{name.replace('_', '-')}"
    )


def _text(value: Any) -> str:  # noqa: ANN401  (any setting)
    if isinstance(value, list):
        return " ".join(map(str, value)) or "not given"
    return "not given" if value is None or value == "" else str(value)


def _not_written(folder: Path, error: OSError) -> DataError:
    message = f"{folder} cannot be written: {error}. Pass another folder with --output."
    return DataError(message)
