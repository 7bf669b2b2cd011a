"""The protocol of what shows the progress of a sweep: a terminal, a notebook, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from moe_eval_plugin.sweeps.workers.progress import Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.launchers.launcher import Outcome
    from moe_eval_plugin.sweeps.manifest import Manifest
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint


class SweepProgress(Progress, Protocol):
    """The methods that a sweep calls to show its progress."""

    def begin(self, plan: SweepPlan, manifest: Manifest, n_questions: Mapping[str, int]) -> None:
        """Begin the sweep; ``n_questions`` has the number of questions of a setting, by task."""

    def begin_setting(self, point: SweepPoint) -> None:
        """Begin a setting. With Ray and Slurm, several settings run at the same time."""

    def end_setting(self, outcome: Outcome) -> None:
        """End a setting, which the manifest now contains."""

    def stop(self) -> None:
        """End early, because every other setting would fail with the same error."""

    def begin_timing(self) -> None:
        """Begin the timed pass, when every setting is answered or has failed."""

    def timed(self, found: TimedPass) -> None:
        """Show the progress of the timed pass."""

    def fail_timing(self, reason: str) -> None:
        """Show why the timed pass failed."""

    def note(self, text: str) -> None:
        """Show lines that stay on the screen."""

    def close(self) -> None:
        """End the display."""


class NoProgress(Silent):
    """Shows nothing."""

    def begin(self, plan: SweepPlan, manifest: Manifest, n_questions: Mapping[str, int]) -> None:
        """Show nothing."""

    def begin_setting(self, point: SweepPoint) -> None:
        """Show nothing."""

    def end_setting(self, outcome: Outcome) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""

    def begin_timing(self) -> None:
        """Show nothing."""

    def timed(self, found: TimedPass) -> None:
        """Show nothing."""

    def fail_timing(self, reason: str) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""
