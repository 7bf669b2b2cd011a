"""Print the progress of a sweep: what it is doing, and the table as it grows."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import shown
from moe_eval_plugin.experts.schedules.routing_rule import UNIFORM
from moe_eval_plugin.hosts.harness import LMMS_EVAL
from moe_eval_plugin.text import setting_label

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from moe_eval_plugin.api.sweeping.ready import SweepResult
    from moe_eval_plugin.commands.status import Status
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.launchers.launcher import Outcome
    from moe_eval_plugin.sweeps.manifest import Manifest
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint
    from moe_eval_plugin.sweeps.table import Row

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
NOT_BEGUN = (
    "No question was asked yet, and the folder keeps what it had. Run the same command to continue."
)
MINUTE = 60


class SweepProgress:
    """Progress over one sweep on a terminal; with ``as_json`` all of it on standard error."""

    def __init__(self, *, as_json: bool, status: Status) -> None:
        from moe_eval_plugin.sweeps.table import Table

        self.status = status
        self._as_json = as_json
        self._manifest: Manifest | None = None
        self._table = Table()
        self._names: tuple[str, ...] = ()
        self._n_questions = 0
        self._n_answered = 0
        self._n_pending = 0
        self._n_running = 0
        self._label = ""
        self._is_timing = False
        self._verified: set[str] = set()

    def begin(self, plan: SweepPlan, manifest: Manifest, n_questions: Mapping[str, int]) -> None:
        """Print what is done already, and the rows of it; ``n_questions`` of a point, by task."""
        from moe_eval_plugin.sweeps.runner import pending
        from moe_eval_plugin.sweeps.table import Table

        self._manifest, self._n_questions = manifest, sum(n_questions.values())
        self._table = Table(plan.points, tuple(n_questions))
        self._names = tuple(point.name for point in plan.points)
        n, self._n_pending = len(self._names), len(pending(plan, manifest))
        if n_done := n - self._n_pending:
            self.status.write(f"{n_done} of {n} settings were done already.")
        self._show_header()
        for name, entry in manifest.entries.items():
            self._add(name, entry.point)

    def doing(self, what: str) -> None:
        """Show a step of the current point."""
        self.status.doing(f"{self._label}: {what}" if self._label else what)

    def verified(self, experts: Mapping[str, VerifiedOverride]) -> None:
        """Print what was observed, once for each point, and begin to count its answers."""
        for text in dict.fromkeys(one.text for one in experts.values()):
            self._show_verified(text)
        after = self._n_pending * self._n_questions
        self.status.counting(self._label, self._n_questions, after=after)
        self.status.advance(self._n_answered, earlier=True)

    def answered(self, n_requests: int, *, earlier: bool = False) -> None:
        """Count requests of the current point that were answered."""
        self._n_answered += n_requests
        self.status.advance(n_requests, earlier=earlier)

    def begin_setting(self, point: SweepPoint) -> None:
        """Show that a point begins."""
        self._n_pending -= 1
        self._n_answered = 0
        self._n_running += 1
        self._label = point.label
        if self._n_running == 1:
            self.doing("running")
        else:
            self.status.doing(f"{self._n_running} settings are running")

    def end_setting(self, outcome: Outcome) -> None:
        """Print the rows of a point, or why it failed."""
        self._n_answered = 0
        self._n_running -= 1
        point = outcome.point
        if outcome.results is None:
            self.status.error(f"{point.label}: failed. {outcome.reason}")
        else:
            self._add(point.name, point.to_dict())

    def stop(self) -> None:
        """Print that every other point would meet the error of this one."""
        self.status.error(
            f"Stopped at {self._label}: every other setting would meet the same error."
        )

    def begin_timing(self) -> None:
        """Show the steps of the timed pass from now on."""
        self._is_timing = True
        self._label = ""

    def timed(self, found: TimedPass) -> None:
        """Show how far the timed pass is."""
        from moe_eval_plugin.sweeps.timing.text import progress_text

        self.status.update(progress_text(found))

    def fail_timing(self, reason: str) -> None:
        """Print why the timed pass failed."""
        self.status.error(f"The timed pass failed: {reason}")

    def close(self) -> None:
        """Remove the line of the status."""
        self.status.pause()

    def interrupted(self) -> int:
        """Print what is saved, and return the exit code."""
        text = NOT_BEGUN if self._manifest is None else self._kept_text(self._manifest)
        print(f"Interrupted. {text}", file=sys.stderr)
        return EXIT_INTERRUPTED

    def _kept_text(self, manifest: Manifest) -> str:
        """Return how much is saved, where, and how to continue."""
        n_done = sum(manifest.entries[name].state == "done" for name in self._names)
        # A question of a multiple-choice task is counted once for each of its requests.
        has_journal = manifest.host == LMMS_EVAL
        of_current = min(self._n_answered, self._n_questions) if has_journal else 0
        saved = n_done * self._n_questions + of_current
        total = len(self._names) * self._n_questions
        kept = "All answers" if saved == total else f"{saved:,} of {total:,} answers"
        if self._is_timing:
            kept = "All answers and all timed blocks"
        return f"{kept} are saved in {shown(manifest.folder)}; run the same command to continue."

    def finish(self, result: SweepResult) -> int:
        """Print how the sweep ended, and return the exit code: 1 if any of it failed."""
        failed = result.failed
        if self._as_json:
            print(json.dumps(self.content(result), indent=2))
        else:
            self.show_speeds(result)
        if not result.is_timed:
            print(_failed_timing_text(result.folder, all_answered=not failed), file=sys.stderr)
        elif not failed and not self._as_json:
            _show_end(result, quiet=self.status.is_quiet)
        if failed:
            names = ", ".join(map(setting_label, failed))
            print(f"Failed: {names}. Run the same command to try again.", file=sys.stderr)
        return EXIT_FAILED if failed or not result.is_timed else 0

    def content(self, result: SweepResult) -> dict[str, Any]:
        """Return everything that is known as plain JSON data."""
        from moe_eval_plugin.commands.ending import answers
        from moe_eval_plugin.results.timing.timed_pass import read_timed_passes
        from moe_eval_plugin.sweeps.timing.text import summary

        passes = read_timed_passes(result.folder)
        rows = [row.to_dict() for row in self._table.with_timed_passes(result.folder, passes)]
        return {
            **result.manifest.to_dict(),
            "rows": rows,
            "timed_passes": [summary(one, self._observed()) for one in passes],
            "answers": [asdict(one) for one in answers(result.folder)],
        }

    def show_speeds(self, result: SweepResult) -> None:
        """Print the speeds of the timed pass, or what is known without one."""
        from moe_eval_plugin.results.timing.timed_pass import read_timed_passes
        from moe_eval_plugin.sweeps.timing.text import render_pass

        passes = read_timed_passes(result.folder)
        for one in passes:
            print(render_pass(one, self._observed()))
        if not passes and len(self._table.rows) > 1:
            print(self._table.timed_once())

    def _observed(self) -> dict[str, float]:
        """Return the observed k of each setting without a policy, by name.

        A policy takes time to decide, so that fewer experts may well take longer.
        """
        entries = self._manifest.entries if self._manifest else {}
        policies = {name: one.point.get("experts_policy") for name, one in entries.items()}
        return {
            row.point: row.observed_num_experts_per_tok
            for row in self._table.rows
            if row.observed_num_experts_per_tok is not None
            and policies.get(row.point) in (None, UNIFORM)
        }

    def _add(self, name: str, point: Mapping[str, Any]) -> None:
        path = self._manifest.results_path(name) if self._manifest else None
        if path is not None:
            for row in self._table.add(point, path):
                self._show_row(row)

    def _show_header(self) -> None:
        self.note(self._table.header())

    def _show_verified(self, text: str) -> None:
        line = f"{self._label} verified: {text}"
        if line not in self._verified:
            self._verified.add(line)
            self.status.write(line)

    def _show_row(self, row: Row) -> None:
        self.note(self._table.render(row))
        if row.note is not None:
            self.note(row.note)

    def note(self, text: str) -> None:
        """Write lines that stay."""
        self.status.write(text, sys.stderr if self._as_json else sys.stdout)


def _failed_timing_text(folder: Path, *, all_answered: bool) -> str:
    """Return what there is without the timed pass, and the next commands, a line for each."""
    from moe_eval_plugin.sweeps.timing.run import LOG
    from moe_eval_plugin.sweeps.workers.in_process import LOGS

    log = folder / LOGS / LOG
    parts = [
        f"Failed: the timed pass.{' All answers are saved.' if all_answered else ''}",
        f"Its log: {log}" if log.is_file() else "",
        "Run the same command to time what is left, or with --speed-budget 0 to leave it out.",
        f"Next, for the accuracy: moe-eval report {folder} --open" if all_answered else "",
    ]
    return "\n".join(filter(None, parts))


def _show_end(result: SweepResult, *, quiet: bool) -> None:
    """Print what to use, what makes the numbers unreliable, and what to do next."""
    from moe_eval_plugin.commands.ending import answer_lines, answers, show_end

    found = list(answer_lines(answers(result.folder)))
    if quiet:
        show_end(*found)
        return
    show_end(
        *(f"Warning: {text}" for text in result.manifest.warnings),
        *found,
        _done_text(result),
        where=f"Results: {shown(result.folder)}",
        following=f"moe-eval report {shown(result.folder)} --open",
    )


def _done_text(result: SweepResult) -> str:
    seconds = round(sum(entry.seconds or 0.0 for entry in result.entries))
    minutes = f"{seconds // MINUTE} min " if seconds >= MINUTE else ""
    n = len(result.names)
    settings = "1 setting" if n == 1 else f"{n} settings"
    return f"Done: {settings}, {n * result.n_questions:,} answers in {minutes}{seconds % MINUTE} s."
