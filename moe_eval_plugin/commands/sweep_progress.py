"""Print the progress of a sweep: what it is doing, and the table as it grows."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.sweep.launchers.launcher import Launcher, Outcome, Worker
    from moe_eval_plugin.sweep.manifest import Entry, Manifest
    from moe_eval_plugin.sweep.plan import SweepPlan, SweepPoint

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
MINUTE = 60


class SweepProgress:
    """Progress over the whole sweep; ``n_questions`` are those of one point."""

    def __init__(
        self,
        plan: SweepPlan,
        manifest: Manifest,
        n_questions: int,
        *,
        as_json: bool,
        status: Status | None = None,
    ) -> None:
        from moe_eval_plugin.sweep.runner import pending
        from moe_eval_plugin.sweep.table import Table

        self._plan = plan
        self._manifest = manifest
        self._n_questions = n_questions
        self._as_json = as_json
        self._table = Table(plan.points, plan.tasks)
        self._n_answered = 0
        self._n_pending = len(pending(plan, manifest))
        self._n_running = 0
        self._label = ""
        self._verified: set[str] = set()
        self.status = Status() if status is None else status

    def doing(self, what: str) -> None:
        """Show a step of the current point."""
        self.status.doing(f"{self._label}: {what}" if self._label else what)

    def verified(self, experts: Mapping[str, VerifiedOverride]) -> None:
        """Print what was observed, once for each point, and begin to count its answers."""
        for text in dict.fromkeys(one.text for one in experts.values()):
            line = f"{self._label} verified: {text}"
            if line not in self._verified:
                self._verified.add(line)
                self.status.write(line)
        after = self._n_pending * self._n_questions
        self.status.counting(self._label, self._n_questions, after=after)
        self.status.advance(self._n_answered, earlier=True)

    def answered(self, n_requests: int, *, earlier: bool = False) -> None:
        """Count requests of the current point that were answered."""
        self._n_answered += n_requests
        self.status.advance(n_requests, earlier=earlier)

    def run(
        self, launcher: Launcher, worker: Worker, changed_files: Callable[[], list[str]] = list
    ) -> None:
        """Run the points and print a line for each; those that are done come first."""
        from moe_eval_plugin.sweep.runner import run_points

        n = len(self._plan.points)
        if n_done := n - self._n_pending:
            self.status.write(f"{n_done} of {n} settings were done already.")
        self.write(self._table.header())
        for name, entry in self._manifest.entries.items():
            if self._manifest.results_path(name) is not None:
                self._add(name, entry.point)
        points = run_points(
            self._plan, self._manifest, launcher, worker, changed_files, self._begin
        )
        try:
            for outcome in points:
                self._show(outcome)
        except UserError:
            self.status.write(
                f"Stopped at {self._label}: every other setting would meet the same error."
            )
            raise

    def close(self) -> None:
        """Remove the line of the status."""
        self.status.pause()

    def interrupted(self, *, timing: bool = False) -> int:
        """Print what is saved, and return the exit code; ``timing`` is whether all is answered."""
        n_done = sum(entry.state == "done" for entry in self._entries())
        # A question of a multiple-choice task is counted once for each of its requests.
        of_current = min(self._n_answered, self._n_questions)
        saved = n_done * self._n_questions + of_current
        total = len(self._plan.points) * self._n_questions
        kept = f"{saved:,} of {total:,} answers"
        if timing:
            kept = "All answers and all timed blocks"
        print(f"Interrupted. {kept} are saved; run the same command to continue.", file=sys.stderr)
        return EXIT_INTERRUPTED

    def finish(self, *, timing_failed: bool = False) -> int:
        """Print how the sweep ended, and return the exit code: 1 if any of it failed."""
        entries = self._entries()
        failed = [entry for entry in entries if entry.state == "failed"]
        self._print_result()
        if timing_failed:
            print(self._failed_timing_text(all_answered=not failed), file=sys.stderr)
        elif not failed and not self._as_json:
            print(_done_text(entries, self._n_questions, self._manifest.folder))
        if failed:
            names = ", ".join(str(entry.point["name"]) for entry in failed)
            print(f"Failed: {names}. Run the same command to try again.", file=sys.stderr)
        return EXIT_FAILED if failed or timing_failed else 0

    def _failed_timing_text(self, *, all_answered: bool) -> str:
        """Return what there is without the timed pass, and the next commands, a line for each."""
        from moe_eval_plugin.sweep.timing.run import LOG
        from moe_eval_plugin.sweep.workers.in_process import LOGS

        folder = self._manifest.folder
        log = folder / LOGS / LOG
        parts = [
            f"Failed: the timed pass.{' All answers are saved.' if all_answered else ''}",
            f"Its log: {log}" if log.is_file() else "",
            "Run the same command to time what is left, or with --speed-budget 0 to leave it out.",
            f"Next, for the accuracy: moe-eval report {folder} --open" if all_answered else "",
        ]
        return "\n".join(filter(None, parts))

    def _print_result(self) -> None:
        """Print the speeds of the timed pass; as JSON, everything that is known."""
        from moe_eval_plugin.results.timing.timed_pass import read_timed_passes
        from moe_eval_plugin.sweep.timing.text import render_pass, summary

        folder = self._manifest.folder
        passes = read_timed_passes(folder)
        observed = {
            row.point: row.observed_num_experts_per_tok
            for row in self._table.rows
            if row.observed_num_experts_per_tok is not None
        }
        if self._as_json:
            rows = [row.to_dict() for row in self._table.with_timed_passes(folder, passes)]
            timed = [summary(one, observed) for one in passes]
            content = {**self._manifest.to_dict(), "rows": rows, "timed_passes": timed}
            print(json.dumps(content, indent=2))
            return
        for one in passes:
            print(render_pass(one, observed))
        if not passes and len(self._table.rows) > 1:
            print(self._table.timed_once())

    def _entries(self) -> list[Entry]:
        return [self._manifest.entry(point.name) for point in self._plan.points]

    def _begin(self, point: SweepPoint) -> None:
        self._n_pending -= 1
        self._n_answered = 0
        self._n_running += 1
        self._label = point.label
        if self._n_running == 1:
            self.doing("running")
        else:
            self.status.doing(f"{self._n_running} settings are running")

    def _show(self, outcome: Outcome) -> None:
        self._n_answered = 0
        self._n_running -= 1
        point = outcome.point
        if outcome.results is None:
            self.write(f"{point.name}: failed. {outcome.reason}")
        else:
            self._add(point.name, point.to_dict())

    def _add(self, name: str, point: Mapping[str, Any]) -> None:
        path = self._manifest.results_path(name)
        if path is not None:
            for row in self._table.add(point, path):
                self.write(self._table.render(row))
                if row.note is not None:
                    self.write(row.note)

    def write(self, line: str) -> None:
        """Write a line that stays."""
        self.status.write(line, sys.stderr if self._as_json else sys.stdout)


def _done_text(entries: list[Entry], n_questions: int, folder: Path) -> str:
    seconds = round(sum(entry.seconds or 0.0 for entry in entries))
    minutes = f"{seconds // MINUTE} min " if seconds >= MINUTE else ""
    n = len(entries)
    settings = "1 setting" if n == 1 else f"{n} settings"
    return (
        f"Done: {settings}, {n * n_questions:,} answers in {minutes}{seconds % MINUTE} s. "
        f"Next: moe-eval report {folder} --open"
    )
