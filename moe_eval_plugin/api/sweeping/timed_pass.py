"""Run the timed pass of a sweep, where the model of the answering pass is used again if it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.api.sweeping.progress import SweepProgress
    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.sweeps.launchers.launcher import Launcher, Worker
    from moe_eval_plugin.sweeps.manifest import Manifest
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
    from moe_eval_plugin.sweeps.timing.options import TimingOptions
    from moe_eval_plugin.sweeps.timing.work import TimedWork


class TimedPassRun:
    """The timed pass of one sweep."""

    def __init__(
        self,
        options: TimingOptions,
        plan: SweepPlan,
        manifest: Manifest,
        host: LoadedTasks,
        progress: SweepProgress,
    ) -> None:
        self._options = options
        self._plan = plan
        self._manifest = manifest
        self._host = host
        self._progress = progress

    def run(self, launcher: Launcher, worker: Worker) -> bool:
        """Time what has not been timed; return whether nothing failed."""
        from moe_eval_plugin.sweeps.launchers.launcher import LocalLauncher
        from moe_eval_plugin.sweeps.timing.run import WHOLE_PASS
        from moe_eval_plugin.sweeps.timing.vllm.job import MODELS, rounds_to_time
        from moe_eval_plugin.sweeps.timing.work import make_work

        is_timed = self._plan.changes_k_live or self._plan.model in MODELS
        if self._options.is_off or not is_timed:
            return True
        n_rounds = None
        if self._plan.model in MODELS:
            n_rounds = rounds_to_time(self._plan, self._manifest, self._options.rounds)
        n_questions = self._host.n_questions(self._plan.limit)
        output_types = self._host.output_types()
        work = make_work(
            self._manifest,
            self._options,
            n_questions,
            output_types,
            n_rounds,
            self._plan.host,
        )
        for remark in work.remarks:
            self._progress.note(remark)
        if not work.pending(self._manifest.folder):
            return True
        self._progress.begin_timing()
        job = self._job(work, worker, is_local=isinstance(launcher, LocalLauncher))
        reasons = [one.reason for one in launcher.run([WHOLE_PASS], job, lambda _: None)]
        failed = [reason for reason in reasons if reason is not None]
        for reason in failed:
            self._progress.fail_timing(reason)
        return not failed

    def _job(self, work: TimedWork, worker: Worker, *, is_local: bool) -> Worker:
        """Return what runs the pass: with the model of the answering pass, or with its own."""
        from moe_eval_plugin.results.timing.timed_pass import FOLDER
        from moe_eval_plugin.sweeps.timing.run import TimedJob, time_settings
        from moe_eval_plugin.sweeps.timing.vllm.job import MODELS, VLLMTimedJob
        from moe_eval_plugin.sweeps.workers.in_process import InProcessWorker

        plan, folder, host = self._plan, self._manifest.folder, self._host
        progress = self._progress

        if plan.model in MODELS:
            engines = "one engine" if work.n_rounds is None else "an engine for each"
            progress.doing(f"timing all settings, with {engines}")
            return VLLMTimedJob(work, plan, folder, *([progress.timed] if is_local else []))
        if not isinstance(worker, InProcessWorker):
            progress.doing("timing all settings, in one more job")
            return TimedJob(work, plan, folder)

        def load() -> Any:  # noqa: ANN401  (the host's)
            model = worker.loaded()
            progress.doing("timing all settings")
            return model

        def job(_: SweepPoint) -> Path:
            time_settings(work, plan, folder, host, load, progress.timed)
            return folder / FOLDER

        return job
