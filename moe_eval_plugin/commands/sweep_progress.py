"""Print the progress of a sweep: a bar over all questions, and the table as it grows."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from moe_eval_plugin.sweep.launchers.launcher import Launcher, Outcome, Worker
    from moe_eval_plugin.sweep.manifest import Entry, Manifest
    from moe_eval_plugin.sweep.plan import SweepPlan

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
MINUTE = 60


class SweepProgress:
    """Progress over the whole sweep; ``n_questions`` are those of one point."""

    def __init__(
        self, plan: SweepPlan, manifest: Manifest, n_questions: int, *, as_json: bool
    ) -> None:
        from tqdm import tqdm

        from moe_eval_plugin.sweep.runner import pending
        from moe_eval_plugin.sweep.table import Table

        self._plan = plan
        self._manifest = manifest
        self._n_questions = n_questions
        self._as_json = as_json
        self._table = Table()
        self._n_answered = 0
        total = n_questions * len(pending(plan, manifest))
        self._bar = tqdm(total=total, desc="sweep", unit="question", disable=None)

    def answered(self, n_questions: int) -> None:
        """Count questions of the current point that were answered."""
        self._n_answered += n_questions
        self._bar.update(n_questions)

    def run(
        self, launcher: Launcher, worker: Worker, changed_files: Callable[[], list[str]] = list
    ) -> None:
        """Run the points and print a line for each; those that are done come first."""
        from moe_eval_plugin.sweep.runner import run_points
        from moe_eval_plugin.sweep.table import header

        self._write(header())
        for name, entry in self._manifest.entries.items():
            if self._manifest.results_path(name) is not None:
                self._add(name, entry.point)
        for outcome in run_points(self._plan, self._manifest, launcher, worker, changed_files):
            self._show(outcome)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def interrupted(self) -> int:
        """Print how many answers are saved, and return the exit code."""
        n_done = sum(entry.state == "done" for entry in self._entries())
        # A question of a multiple-choice task is counted once for each of its requests.
        of_current = min(self._n_answered, self._n_questions)
        saved = n_done * self._n_questions + of_current
        total = len(self._plan.points) * self._n_questions
        print(
            f"Interrupted. {saved:,} of {total:,} answers are saved; run the same command to "
            "continue.",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED

    def finish(self) -> int:
        """Print how the sweep ended, and return the exit code: 1 if a point failed."""
        entries = self._entries()
        failed = [entry for entry in entries if entry.state == "failed"]
        if self._as_json:
            rows = [row.to_dict() for row in self._table.rows]
            print(json.dumps({**self._manifest.to_dict(), "rows": rows}, indent=2))
        elif not failed:
            print(_done_text(entries, self._n_questions, self._manifest.folder))
        if failed:
            names = ", ".join(str(entry.point["name"]) for entry in failed)
            print(f"Failed: {names}. Run the same command to try again.", file=sys.stderr)
        return EXIT_FAILED if failed else 0

    def _entries(self) -> list[Entry]:
        return [self._manifest.entry(point.name) for point in self._plan.points]

    def _show(self, outcome: Outcome) -> None:
        self.answered(max(0, self._n_questions - self._n_answered))
        self._n_answered = 0
        point = outcome.point
        if outcome.results is None:
            self._write(f"{point.name}: failed. {outcome.reason}")
        else:
            self._add(point.name, point.to_dict())

    def _add(self, name: str, point: Mapping[str, Any]) -> None:
        from moe_eval_plugin.sweep.table import render

        path = self._manifest.results_path(name)
        if path is not None:
            for row in self._table.add(point, path):
                self._write(render(row))
                if row.note is not None:
                    self._write(row.note)

    def _write(self, line: str) -> None:
        self._bar.write(line, file=sys.stderr if self._as_json else sys.stdout)
        (sys.stderr if self._as_json else sys.stdout).flush()


def _done_text(entries: list[Entry], n_questions: int, folder: Path) -> str:
    seconds = round(sum(entry.seconds or 0.0 for entry in entries))
    minutes = f"{seconds // MINUTE} min " if seconds >= MINUTE else ""
    n = len(entries)
    settings = "1 setting" if n == 1 else f"{n} settings"
    return (
        f"Done: {settings}, {n * n_questions:,} answers in {minutes}{seconds % MINUTE} s. "
        f"Next: moe-eval report {folder} --open"
    )
