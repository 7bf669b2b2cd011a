"""The timed pass of a sweep: which job runs it, and what is said when it does not run."""

from __future__ import annotations

import pickle
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.api.sweeping.timed_pass import TimedPassRun
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.sweep_progress import SweepProgress
from moe_eval_plugin.sweeps.launchers.launcher import LocalLauncher
from moe_eval_plugin.sweeps.plan import SweepPlan
from moe_eval_plugin.sweeps.timing.options import TimingOptions
from moe_eval_plugin.sweeps.timing.run import WHOLE_PASS, TimedJob
from moe_eval_plugin.sweeps.workers.child_process import ChildProcessWorker
from tests.sweeps.timing.test_work import POINTS, TASK, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from moe_eval_plugin.sweeps.launchers.launcher import Outcome, Worker
    from moe_eval_plugin.sweeps.plan import SweepPoint


class OneTaskHost:
    """A host whose only task has ten questions."""

    def n_questions(self, _: int | None) -> dict[str, int]:
        return {TASK: 10}

    def output_types(self) -> dict[str, str]:
        return {TASK: "generate_until"}


class KeepingLauncher(LocalLauncher):
    """Keeps what it is to run, and runs nothing, or lets it fail."""

    def __init__(self, *, fails: bool = False) -> None:
        self.jobs: list[tuple[Sequence[SweepPoint], Worker]] = []
        self._fails = fails

    def run(
        self, points: Sequence[SweepPoint], worker: Worker, begin: Callable[[SweepPoint], None]
    ) -> Iterator[Outcome]:
        self.jobs.append((points, worker))

        def fail(_: SweepPoint) -> Path:
            message = "the GPU is gone"
            raise RuntimeError(message)

        yield from super().run(points if self._fails else [], fail, begin)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., TimedPassRun]]:
    statuses = ExitStack()

    def make(model: str = "moe_hf", **options: Any) -> TimedPassRun:
        plan = SweepPlan(model, "pretrained=demo", (TASK,), POINTS)
        manifest = sweep(tmp_path)
        # Built in the test: it keeps standard error as it is then.
        status = statuses.enter_context(Status())
        progress = SweepProgress(as_json=False, status=status)
        host: Any = OneTaskHost()
        return TimedPassRun(TimingOptions(**options), plan, manifest, host, progress)

    with statuses:
        yield make


def test_points_of_their_own_processes_are_timed_by_one_more_job(
    make: Callable[..., TimedPassRun], tmp_path: Path
) -> None:
    timing, launcher = make(), KeepingLauncher()
    plan = SweepPlan("moe_hf", "pretrained=demo", (TASK,), POINTS)
    assert timing.run(launcher, ChildProcessWorker(plan, tmp_path))
    [(points, job)] = launcher.jobs
    assert points == [WHOLE_PASS]
    assert isinstance(job, TimedJob)
    assert [point.name for point in job.work.points] == ["k8", "k4", "k1"]
    assert pickle.loads(pickle.dumps(job)) == job  # noqa: S301  (what Ray and Slurm do with it)


def test_a_failed_pass_is_named(
    make: Callable[..., TimedPassRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = SweepPlan("moe_hf", "pretrained=demo", (TASK,), POINTS)
    worker = ChildProcessWorker(plan, tmp_path)
    assert not make().run(KeepingLauncher(fails=True), worker)
    assert "The timed pass failed: RuntimeError: the GPU is gone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "options"), [("moe_hf", {"budget_s": 0.0}), ("another_model", {})]
)
def test_nothing_is_timed_where_that_was_said_or_is_not_possible(
    make: Callable[..., TimedPassRun], tmp_path: Path, model: str, options: dict[str, float]
) -> None:
    timing, launcher = make(model, **options), KeepingLauncher()
    plan = SweepPlan(model, "", (TASK,), POINTS)
    assert timing.run(launcher, ChildProcessWorker(plan, tmp_path))
    assert launcher.jobs == []
