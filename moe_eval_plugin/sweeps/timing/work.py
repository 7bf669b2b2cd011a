"""Plan the timed pass of a sweep from its finished points; nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moe_eval_plugin.files import short_digest
from moe_eval_plugin.hosts.harness import LM_EVAL, LMMS_EVAL
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.results.timing.timed_pass import FOLDER, TimedPass
from moe_eval_plugin.sweeps.identity.fingerprint import machine
from moe_eval_plugin.sweeps.plan import SweepPoint
from moe_eval_plugin.sweeps.timing.pass_file import ASKED, MACHINE, is_same, stored_pass
from moe_eval_plugin.sweeps.timing.sample import (
    LARGEST_SAMPLE,
    LARGEST_SAMPLE_OF_ROUNDS,
    choose_sample,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.sweeps.manifest import Manifest
    from moe_eval_plugin.sweeps.timing.options import TimingOptions

# The default budget is the time of answering so many questions, but no less than a minute.
QUESTIONS_OF_THE_BUDGET = 1000
LEAST_BUDGET_S = 60.0
# What a task asks for. Our models in lmms-eval score one question at a time; lm-eval puts several
# into a batch.
GENERATED, SCORED = ("generate_until",), ("loglikelihood", "multiple_choice")
IN_BATCHES = {
    LMMS_EVAL: GENERATED,
    LM_EVAL: (*GENERATED, *SCORED, "loglikelihood_rolling"),
}


@dataclass(frozen=True)
class TimedWork:
    """The passes of a sweep, without their blocks, and why something is not timed."""

    points: tuple[SweepPoint, ...]
    """The settings to time, the baseline first."""
    passes: tuple[TimedPass, ...]
    """A pass for each task and batch size."""
    remarks: tuple[str, ...] = ()
    """A sentence for each setting or task that is not timed."""
    n_rounds: int | None = None
    """Rounds over engines that hold one k each; ``None`` where k is changed on a loaded model."""

    def on_this_machine(self) -> TimedWork:
        """Return the work of this machine: blocks of another one are no part of its passes."""
        here = {MACHINE: short_digest(machine())}
        passes = (replace(one, identity={**one.identity, **here}) for one in self.passes)
        return replace(self, passes=tuple(passes))

    def pending(self, folder: Path) -> tuple[TimedPass, ...]:
        """Return the passes that have not ended in the folder of the sweep, on any machine."""
        stored = _stored(folder)
        return tuple(one for one in self.passes if not any(self._is_end(s, one) for s in stored))

    def remove_others(self, folder: Path) -> None:
        """Delete the passes of other settings, questions or machines: nothing compares them."""
        for path in (folder / FOLDER).glob("*.jsonl"):
            found = stored_pass(path)
            if found is None or not any(_is_alike(found, one) for one in self.passes):
                path.unlink()

    def _is_end(self, stored: TimedPass, wanted: TimedPass) -> bool:
        """Whether a stored pass is a wanted one, at the batch size that fitted, to its end."""
        sizes = (stored.batch_size, stored.identity.get(ASKED))
        is_it = _is_alike(stored, wanted, on_any_machine=True) and wanted.batch_size in sizes
        if self.n_rounds is not None:
            return is_it and stored.ended_by is not None and len(stored.counted) >= self.n_rounds
        ends = (stored.precision, stored.budget_s) == (wanted.precision, wanted.budget_s)
        return stored.ended_by is not None and ends and is_it


def make_work(
    manifest: Manifest,
    options: TimingOptions,
    n_questions: Mapping[str, int],
    output_types: Mapping[str, str],
    n_rounds: int | None = None,
    host: str = LMMS_EVAL,
) -> TimedWork:
    """Build the passes of the points that are done, whose experts were observed.

    ``n_questions`` and ``output_types`` are those of ``host``, by task; ``n_rounds`` is that of the
    work.
    There are no passes where only the baseline, or not even that, can be timed.
    """
    records, remarks = _records(manifest)
    points = [SweepPoint.from_dict(manifest.entry(name).point) for name in records]
    # Repetitions with other seeds have the same speed.
    points = [one for one in points if one.seed == points[0].seed]
    if len(points) > 1 and not points[0].is_baseline:
        remarks.append("Nothing is timed: there are no answers at the published k.")
    if options.is_off or len(points) <= 1 or not points[0].is_baseline:
        return TimedWork((), (), tuple(remarks))
    targets: list[tuple[str, int]] = []
    for task in n_questions:
        sizes: tuple[int, ...] = (1,) if output_types[task] in SCORED else ()
        if output_types[task] in IN_BATCHES[host]:
            sizes = options.batch_sizes or _size_of_answers(task, records.values())
        if not sizes:
            remarks.append(f"{task} is not timed: its questions have several rounds.")
        targets += [(task, size) for size in sizes]
    budget_s = _budget_s(records.values()) if options.budget_s is None else options.budget_s
    names = tuple(point.name for point in points)
    largest = LARGEST_SAMPLE if n_rounds is None else LARGEST_SAMPLE_OF_ROUNDS
    identity = {"digest": short_digest(dict(manifest.settings))}
    passes = [
        TimedPass(
            task=task,
            batch_size=size,
            settings=names,
            baseline=names[0],
            sample=choose_sample(n_questions[task], options.seed, largest),
            seed=options.seed,
            precision=options.precision,
            budget_s=round(budget_s / len(targets), 3),
            method="interleaved" if n_rounds is None else "rounds",
            identity={**identity, ASKED: size},
        )
        for task, size in targets
    ]
    return TimedWork(tuple(points), tuple(passes), tuple(remarks), n_rounds)


def _records(manifest: Manifest) -> tuple[dict[str, dict[str, RunRecord]], list[str]]:
    """Return the records of each point to time, by task, and a sentence for each other one."""
    records: dict[str, dict[str, RunRecord]] = {}
    remarks = []
    for name in manifest.entries:
        path = manifest.results_path(name)
        if path is None:
            continue
        found = {task.task: task.record for task in read_run(path).tasks if task.record}
        if found and all(one.experts and one.experts.observed for one in found.values()):
            records[name] = found
        else:
            remarks.append(f"{name} is not timed: its experts were not observed.")
    return records, remarks


def _size_of_answers(task: str, records: Iterable[Mapping[str, RunRecord]]) -> tuple[int, ...]:
    """Return the batch size at which the questions of a task were answered."""
    sizes = [one[task].setup.batch_size for one in records if task in one]
    return (min((size for size in sizes if size), default=1),)


def _budget_s(records: Iterable[Mapping[str, RunRecord]]) -> float:
    """Return the time that answering 1,000 questions took, all points added up."""
    total = 0.0
    for of_point in records:
        n_samples = sum(one.speed.n_samples for one in of_point.values())
        wall_s = sum(one.speed.wall_s for one in of_point.values())
        total += QUESTIONS_OF_THE_BUDGET * wall_s / n_samples if n_samples else 0.0
    return max(LEAST_BUDGET_S, total)


def _stored(folder: Path) -> list[TimedPass]:
    found = [stored_pass(path) for path in sorted((folder / FOLDER).glob("*.jsonl"))]
    return [one for one in found if one is not None]


def _is_alike(stored: TimedPass, wanted: TimedPass, *, on_any_machine: bool = False) -> bool:
    """Whether two passes differ in nothing but batch size, blocks and end."""
    alike = replace(stored, batch_size=wanted.batch_size)
    return is_same(alike, wanted, on_any_machine=on_any_machine)
