"""Run the timed pass of a sweep with its loaded model, or as a job of its own."""

from __future__ import annotations

from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.harness import LM_EVAL, harness
from moe_eval_plugin.results.timing.timed_pass import FOLDER
from moe_eval_plugin.sweeps.plan import SweepPoint
from moe_eval_plugin.sweeps.timing.interleaved import run_pass
from moe_eval_plugin.sweeps.workers.in_process import LOGS
from moe_eval_plugin.sweeps.workers.progress import Silent
from moe_eval_plugin.sweeps.workers.resident import make_resident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.plan import SweepPlan
    from moe_eval_plugin.sweeps.timing.interleaved import Timer
    from moe_eval_plugin.sweeps.timing.work import TimedWork

LOG = "timing.log"
# What a launcher gets to run; it is no setting of the sweep.
WHOLE_PASS = SweepPoint("timing", "")


def time_settings(
    work: TimedWork,
    plan: SweepPlan,
    folder: Path,
    host: LoadedTasks,
    load: Callable[[], Any],
    after_block: Callable[[TimedPass], object] = lambda _: None,
) -> None:
    """Time what has not ended in the folder of a sweep; what the host prints goes into a log.

    ``load`` returns the model, loaded.
    """
    here = work.on_this_machine()
    here.remove_others(folder)
    with _logged(folder):
        timer = _timer(plan.host)(load(), host, here.points)
        for wanted in here.pending(folder):
            run_pass(folder, wanted, timer, after_block)


@dataclass(frozen=True)
class TimedJob:
    """A ``Worker`` that loads the model and runs the timed pass, here or on another machine.

    The paths must mean the same on each machine.
    """

    work: TimedWork
    plan: SweepPlan
    folder: Path

    def __call__(self, _: SweepPoint) -> Path:
        """Run the whole timed pass, and return the folder of its files."""
        with _logged(self.folder):
            host = harness(self.plan.host).load_tasks(self.plan.run())
        resident = make_resident(self.plan, None, self.folder, {}, None, Silent())
        time_settings(self.work, self.plan, self.folder, host, resident.loaded)
        return self.folder / FOLDER


def _timer(host: str) -> Callable[[Any, LoadedTasks, Iterable[SweepPoint]], Timer]:
    """Return the class of the timer for the loaded model of a host."""
    if host == LM_EVAL:
        from moe_eval_plugin.sweeps.timing.lm_eval import LmEvalTimer

        return LmEvalTimer
    from moe_eval_plugin.sweeps.timing.resident import ResidentTimer

    return ResidentTimer


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    log = folder / LOGS / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        yield
