"""Run the points of a sweep in child processes: each runs the host's own command."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.hosts.harness import harness
from moe_eval_plugin.results.files import find_results, read_run
from moe_eval_plugin.sweeps.workers.batch_size import AUTO, found_batch_size
from moe_eval_plugin.sweeps.workers.failures import PointRefusedError
from moe_eval_plugin.sweeps.workers.in_process import LOGS

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.hosts.harness import Harness
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint

N_LAST_LINES = 12


@dataclass(frozen=True)
class ChildProcessWorker:
    """Runs a point in its own process, here or on another machine.

    ``n_processes`` above 1 shares the questions among that many processes of accelerate. The paths
    must mean the same on each machine.
    """

    plan: SweepPlan
    folder: Path
    n_processes: int = 1

    def __call__(self, point: SweepPoint) -> Path:
        """Run the host's command to its end, and return the results file that it wrote.

        Raises ``RuntimeError`` with the last lines of its output where it wrote none,
        ``PointRefusedError`` where it refused the request, and ``UserError`` where another number
        of processes than ``n_processes`` answered.
        """
        output = self.folder / point.name
        log = self.folder / LOGS / f"{point.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [*self._program(), *self._plan().host_arguments(point, str(output))]
        with log.open("w", encoding="utf-8") as file:
            ended = subprocess.run(  # noqa: S603  (this very Python, with arguments as a list)
                command,
                env=self._environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if ended.returncode != 0:
            message = f"{self.plan.host} ended with {ended.returncode}: {last_lines(log)}"
            is_refused = ended.returncode == UserError.exit_code
            raise PointRefusedError(message) if is_refused else RuntimeError(message)
        try:
            results = find_results(output)
        except RuntimeError as error:
            # The host ends with 0 after an error of its own.
            message = f"{error}: {last_lines(log)}"
            raise RuntimeError(message) from error
        self._check_processes(results, log)
        return results

    def _check_processes(self, results: Path, log: Path) -> None:
        setup = read_run(results).setup
        found = setup.n_ranks if setup else None
        if found not in (None, self.n_processes):
            message = (
                f"--processes-per-point asks for {self.n_processes}, but the record in {results} "
                f"has {found}, so it does not count. Settings of accelerate may be the cause "
                "(`accelerate env`, ACCELERATE_USE_CPU). Correct them, or pass "
                f"--processes-per-point {found}. All that was printed: {log}"
            )
            raise UserError(message)

    def _plan(self) -> SweepPlan:
        """Return the plan, with the batch size of the first setting as the upper limit."""
        limit, plan = "max_batch_size", self.plan
        finds_its_own = plan.model == "moe_hf" and plan.batch_size == AUTO
        if not finds_its_own or limit in self._host.argument_names(plan.model_args):
            return plan
        found = found_batch_size(self.folder)
        own = f"{limit}={found}" if found else ""
        return replace(plan, model_args=self._host.join_texts((plan.model_args, own)))

    def _program(self) -> list[str]:
        module = self._host.module
        if self.n_processes == 1:
            return [*guarded(), *module]
        # --multi_gpu: without it, accelerate starts one process where it finds one GPU or none, or
        # where its own settings say so. With it, ACCELERATE_USE_CPU decides the device.
        launch = [*guarded(), "accelerate.commands.launch", "--multi_gpu"]
        return [*launch, "--num_processes", str(self.n_processes), "-m", *module]

    def _environment(self) -> dict[str, str]:
        """Return the variables of the command: those of this process, and what accelerate needs.

        Raises ``InvalidArgumentError`` where the host would not share the questions.
        """
        if self.n_processes == 1:
            return {**os.environ}
        needed = variables_of_accelerate(self.n_processes, self.plan.device)
        if needed and not self._host.shares_on_cpus:
            message = (
                f"--processes-per-point {self.n_processes} is not possible: on CPUs, each process "
                f"of {self.plan.host} answers all questions. Leave it out: one process uses all "
                "threads."
            )
            raise InvalidArgumentError(message)
        return {**needed, **os.environ}

    @property
    def _host(self) -> Harness:
        return harness(self.plan.host)


def variables_of_accelerate(n_processes: int, device: str | None) -> dict[str, str]:
    """Return what makes accelerate compute on CPUs, where there is no GPU or the CPU is chosen.

    The processes share the threads that one would have. On GPUs nothing is needed.
    """
    import torch

    if device != "cpu" and torch.accelerator.is_available():
        return {}
    n_threads = max(1, torch.get_num_threads() // n_processes)
    return {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": str(n_threads)}


def guarded() -> list[str]:
    """Return the beginning of a command that runs a module and ends with this process."""
    module = "moe_eval_plugin.sweeps.workers.die_with_parent"
    return [sys.executable, "-m", module, str(os.getpid())]


def last_lines(log: Path) -> str:
    """Return the last lines of a log, and where all of it is."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    shown = "\n".join(lines[-N_LAST_LINES:])
    return f"{shown}\n(all of it: {log})"
