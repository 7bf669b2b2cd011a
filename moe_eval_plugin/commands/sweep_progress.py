"""What a sweep shows while it goes on: a bar over all points, and the table as it grows."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Any

    from moe_eval_plugin.sweep.launchers.launcher import Launcher, Outcome, Work
    from moe_eval_plugin.sweep.manifest import Manifest
    from moe_eval_plugin.sweep.plan import SweepPlan


class Show:
    """Progress over the whole sweep, and the table as it grows."""

    def __init__(
        self, plan: SweepPlan, manifest: Manifest, n_questions: int, options: argparse.Namespace
    ) -> None:
        from tqdm import tqdm

        from moe_eval_plugin.sweep.runner import pending
        from moe_eval_plugin.sweep.table import Table

        self._plan = plan
        self._manifest = manifest
        self._n_questions = n_questions
        self._as_json = options.json
        self._table = Table()
        self._told = 0
        total = n_questions * len(pending(plan, manifest))
        self._bar = tqdm(total=total, desc="sweep", unit="question", disable=None)

    def tell(self, n_questions: int) -> None:
        """Move the bar by questions that were answered."""
        self._told += n_questions
        self._bar.update(n_questions)

    def run(self, launcher: Launcher, work: Work) -> None:
        """Run the points, and write a line for each; those that are done come first."""
        from moe_eval_plugin.sweep.runner import run_points
        from moe_eval_plugin.sweep.table import header

        self._write(header())
        for name, entry in self._manifest.entries.items():
            if self._manifest.results_path(name) is not None:
                self._add(name, entry.point)
        for outcome in run_points(self._plan, self._manifest, launcher, work):
            self._take(outcome)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def finish(self) -> int:
        """Print what is left to say; 1 if a point failed."""
        entries = [self._manifest.entry(point.name) for point in self._plan.points]
        failed = [entry for entry in entries if entry.state == "failed"]
        if self._as_json:
            rows = [row.to_dict() for row in self._table.rows]
            print(json.dumps({**self._manifest.to_dict(), "rows": rows}, indent=2))
        else:
            print(f"Everything is in {self._manifest.folder}")
        if failed:
            names = ", ".join(str(entry.point["name"]) for entry in failed)
            print(f"Failed: {names}. The same command tries them again.", file=sys.stderr)
        return 1 if failed else 0

    def _take(self, outcome: Outcome) -> None:
        self.tell(max(0, self._n_questions - self._told))
        self._told = 0
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

    def _write(self, line: str) -> None:
        self._bar.write(line, file=sys.stderr if self._as_json else sys.stdout)
        (sys.stderr if self._as_json else sys.stdout).flush()
