"""Compare every setting of a sweep with its baseline."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.results.compare.compare import Options, adjusted, compare_runs
from moe_eval_plugin.text import setting_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.results.compare.comparison import Comparison, TaskComparison
    from moe_eval_plugin.results.run import Run


@dataclass(frozen=True)
class SweepRun:
    """One point of a sweep that is done."""

    name: str
    """Name of the point, which is that of its folder."""
    run: Run
    """Content of its results file."""
    seed: int | None = None
    """Seed of the model; ``None`` if none was set."""
    is_baseline: bool = False
    """Whether it is the published k."""

    @property
    def label(self) -> str:
        """Name for people, ``k=8`` for ``k8``."""
        return setting_label(self.name)

    @property
    def order(self) -> tuple[bool, float, str]:
        """Order in tables: the baseline, then from large k to small, then schedules of k."""
        found = re.fullmatch(r"k(\d+)", self.name.partition("-")[0])
        return not self.is_baseline, -float(found.group(1)) if found else 0.0, self.name


@dataclass(frozen=True)
class SweepComparison:
    """The settings of a sweep, each compared with the baseline of its seed."""

    folder: str
    """Folder of the sweep."""
    settings: dict[str, Comparison]
    """Each setting but the baselines by its name; A is its baseline, and B the setting."""
    baseline_of: dict[str, str]
    """Name of the baseline of each setting: with several seeds, that of its own."""

    @property
    def tasks(self) -> list[tuple[str, TaskComparison]]:
        """Every task of every setting, with the name of the setting."""
        return [(name, task) for name, one in self.settings.items() for task in one.tasks]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data, ready for JSON."""
        return {
            "sweep": self.folder,
            "baseline_of": self.baseline_of,
            "settings": {name: one.to_dict() for name, one in self.settings.items()},
        }


def compare_sweep(
    folder: str,
    runs: Sequence[SweepRun],
    names: Sequence[str] = (),
    task: str | None = None,
    options: Options | None = None,
) -> SweepComparison:
    """Compare the settings of these names, or all, with the baseline; from large k to small.

    A name is that of a point, or what it is called in tables: ``k8``, ``k=8`` or ``8``. Raises
    ``InvalidArgumentError`` for a name that no setting has, ``DataError`` without a baseline or
    another setting, and what ``compare_runs`` raises.
    """
    baselines = {one.seed: one for one in runs if one.is_baseline}
    others = sorted((one for one in runs if not one.is_baseline), key=lambda one: one.order)
    chosen = [one for one in _named(others, names) if one.seed in baselines]
    if not chosen:
        message = (
            f"The sweep in {folder} has no baseline and another setting that are done. Continue "
            "it: run the same `moe-eval sweep` again."
        )
        raise DataError(message)
    # Each setting is judged on the same questions, whichever of them was chosen with some.
    setups = tuple(each.setup for one in runs for each in one.run.tasks)
    how = replace(options or Options(), setups=setups)
    found = {one.name: compare_runs(baselines[one.seed].run, one.run, task, how) for one in chosen}
    baseline_of = {one.name: baselines[one.seed].name for one in chosen}
    return SweepComparison(folder, _adjusted_together(found), baseline_of)


def _named(runs: Sequence[SweepRun], names: Sequence[str]) -> list[SweepRun]:
    if not names:
        return list(runs)
    known = {text: one for one in runs for text in (one.name, one.label, one.name[1:])}
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ", ".join(one.name for one in runs)
        message = f"--settings {unknown[0]}: the sweep has no such setting. Use one of: {listed}."
        raise InvalidArgumentError(message)
    chosen = [known[name] for name in names]
    return [one for one in runs if one in chosen]


def _adjusted_together(found: dict[str, Comparison]) -> dict[str, Comparison]:
    """Return the comparisons with p-values adjusted for the number of settings and tasks."""
    tasks = iter(adjusted([task for one in found.values() for task in one.tasks]))
    return {
        name: replace(one, tasks=tuple(next(tasks) for _ in one.tasks))
        for name, one in found.items()
    }
