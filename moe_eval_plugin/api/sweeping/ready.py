"""A sweep that is ready to run: its model was checked, and its tasks were read."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moe_eval_plugin.api.sweeping.timed_pass import TimedPassRun
from moe_eval_plugin.api.sweeping.warnings_collected import CollectedWarnings
from moe_eval_plugin.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from moe_eval_plugin.api.sweeping.progress import SweepProgress
    from moe_eval_plugin.api.sweeping.request import SweepRequest
    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.sweeps.estimate import Estimate
    from moe_eval_plugin.sweeps.identity.data_content import DataContent
    from moe_eval_plugin.sweeps.launchers.launcher import Launcher, Worker
    from moe_eval_plugin.sweeps.manifest import Entry, Manifest
    from moe_eval_plugin.sweeps.planning import CheckedPlan


def check_model(request: SweepRequest) -> CheckedPlan:
    """Add the points to the plan, and check it with the configuration and files of its model.

    Imports transformers; no weight is read. Raises ``UserError``.
    """
    from moe_eval_plugin.sweeps.planning import check_machine, check_weights, make_plan

    runs_here = request.launch.launcher == "local"
    checked = make_plan(request.common, request.axes)
    if runs_here:
        check_machine(checked.plan)
    if not request.dry_run:
        check_weights(checked, runs_here=runs_here)
    return checked


def read_tasks(request: SweepRequest, checked: CheckedPlan) -> ReadySweep:
    """Import the host, and read the tasks of a checked plan and their data.

    Raises ``InvalidArgumentError`` where all questions took part in choosing the settings.
    """
    from moe_eval_plugin.hosts.harness import harness
    from moe_eval_plugin.sweeps.identity.data_content import DataContent
    from moe_eval_plugin.sweeps.identity.fingerprint import sweep_settings
    from moe_eval_plugin.sweeps.settings.calibration_overlap import overlap_notes

    plan, collected = checked.plan, CollectedWarnings()
    with collected.collecting():
        host = harness(plan.host).load_tasks(plan.run())
        notes = overlap_notes(plan.points, host.n_questions(plan.limit))
        data = DataContent.load(request.folder)
        settings = sweep_settings(plan, checked.model, host, data)
    collected.texts += notes
    return ReadySweep(request, checked, host, settings, data, collected, tuple(notes))


@dataclass(frozen=True)
class ReadySweep:
    """A checked plan with the tasks that it asks; ``run`` runs what its folder lacks."""

    request: SweepRequest
    """What was requested."""
    checked: CheckedPlan
    """The plan, and the model's configuration."""
    host: LoadedTasks
    """The host with the tasks."""
    settings: Mapping[str, Any]
    """What the numbers depend on, by name."""
    data: DataContent
    """What is known of the files of the data."""
    collected: CollectedWarnings = field(default_factory=CollectedWarnings)
    """The warnings so far."""
    notes: tuple[str, ...] = ()
    """Questions that took part in choosing settings: to be shown before the first answer."""

    def estimate(self) -> Estimate:
        """Estimate questions, time and memory; nothing is run and nothing is written."""
        from moe_eval_plugin.sweeps.estimate import estimate

        plan, request = self.checked.plan, self.request
        n_questions = self.host.n_questions(plan.limit)
        return estimate(
            plan, self.checked.options, n_questions, request.folder, self.settings, request.timing
        )

    def run(self, progress: SweepProgress) -> SweepResult:
        """Answer and time what is not done yet, and return how it ended.

        An interrupted run keeps what it has, and the same request continues it. Raises
        ``UserError`` where another process works in the folder, where it has results of other
        settings, and for an error that every setting would meet.
        """
        from moe_eval_plugin.publish.bundle.study import save_studies
        from moe_eval_plugin.sweeps.launchers.choose import launching
        from moe_eval_plugin.sweeps.manifest import locked
        from moe_eval_plugin.sweeps.runner import open_manifest
        from moe_eval_plugin.sweeps.settings.kept_files import keep_files

        for text in self.notes:
            progress.note(text)
        plan, folder, launch = self.checked.plan, self.request.folder, self.request.launch
        with locked(folder):
            manifest = open_manifest(
                folder,
                plan,
                self.settings,
                restart=self.request.restart,
                command=self.request.command,
                changed_files=self.data.changed(),
            )
            self.data.save(folder)
            keep_files(manifest, self.request.axes.schedules)
            save_studies(manifest)
            n_questions = self.host.n_questions(plan.limit)
            timing = TimedPassRun(self.request.timing, plan, manifest, self.host, progress)
            known = manifest.settings
            with (
                self._warnings_kept(manifest),
                closing(progress),
                launching(launch, self.checked, self.host, folder, known, progress) as means,
            ):
                progress.begin(plan, manifest, n_questions)
                self._answer(manifest, *means, progress)
                is_timed = timing.run(*means)
        names = tuple(point.name for point in plan.points)
        return SweepResult(manifest, names, sum(n_questions.values()), is_timed)

    @contextmanager
    def _warnings_kept(self, manifest: Manifest) -> Iterator[None]:
        """Collect warnings while the block runs, and add them to the manifest, however it ends."""
        try:
            with self.collected.collecting():
                yield
        finally:
            manifest.add_warnings(self.collected.texts)

    def _answer(
        self, manifest: Manifest, launcher: Launcher, worker: Worker, progress: SweepProgress
    ) -> None:
        """Answer the questions at each setting that is not done."""
        from moe_eval_plugin.sweeps.runner import run_points

        outcomes = run_points(
            self.checked.plan,
            manifest,
            launcher,
            worker,
            self.data.changed_since,
            progress.begin_setting,
        )
        try:
            for outcome in outcomes:
                progress.end_setting(outcome)
        except UserError:
            progress.stop()
            raise


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended; its numbers are in the files that the manifest names."""

    manifest: Manifest
    """The state of each setting, in the folder of the sweep."""
    names: tuple[str, ...]
    """Names of the settings of this request."""
    n_questions: int
    """Questions of one setting, of all tasks."""
    is_timed: bool
    """Whether nothing of the timed pass failed."""

    @property
    def folder(self) -> Path:
        """The folder of the sweep."""
        return self.manifest.folder

    @property
    def entries(self) -> list[Entry]:
        """The state of each setting of this request."""
        return [self.manifest.entry(name) for name in self.names]

    @property
    def failed(self) -> dict[str, str]:
        """Why settings failed, by name; empty if all have their results."""
        return {
            name: self.manifest.entry(name).reason or "unknown"
            for name in self.names
            if self.manifest.entry(name).state == "failed"
        }
