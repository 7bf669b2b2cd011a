"""Show the progress of a sweep as a bar: of a notebook, or of a terminal where that runs it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.results.timing.timed_pass import TimedPass
    from moe_eval_plugin.sweeps.launchers.launcher import Outcome
    from moe_eval_plugin.sweeps.manifest import Manifest
    from moe_eval_plugin.sweeps.plan import SweepPlan, SweepPoint


class NotebookProgress:
    """One bar over the questions of all settings, whose text says what is done now."""

    def __init__(self) -> None:
        self._bar = make_bar()
        self._label = ""
        self._n_questions = 0
        self._n_ended = 0

    def doing(self, what: str) -> None:
        """Show a step."""
        self._bar.set_description_str(f"{self._label}: {what}" if self._label else what)

    def verified(self, experts: Mapping[str, VerifiedOverride]) -> None:
        """Show what was observed; answering begins."""
        for text in dict.fromkeys(one.text for one in experts.values()):
            self._bar.set_postfix_str(text)
        self._bar.set_description_str(self._label)

    def answered(self, n_requests: int, *, earlier: bool = False) -> None:
        """Count answers; requests of a question with several stop at the end of its setting."""
        del earlier
        limit = (self._n_ended + 1) * self._n_questions
        self._bar.update(min(n_requests, max(0, limit - self._bar.n)))

    def begin(self, plan: SweepPlan, manifest: Manifest, n_questions: Mapping[str, int]) -> None:
        """Begin to count; settings that were done before count at once."""
        from moe_eval_plugin.sweeps.runner import pending

        self._n_questions = sum(n_questions.values())
        self._n_ended = len(plan.points) - len(pending(plan, manifest))
        self._bar.reset(total=len(plan.points) * self._n_questions)
        self._to_the_end_of_settings()

    def begin_setting(self, point: SweepPoint) -> None:
        """Show which setting is answered."""
        self._label = point.label
        self.doing("running")

    def end_setting(self, outcome: Outcome) -> None:
        """Count the setting as ended, and show why it failed."""
        self._n_ended += 1
        self._to_the_end_of_settings()
        if outcome.reason is not None:
            self.note(f"{outcome.point.label}: failed. {outcome.reason}")

    def stop(self) -> None:
        """Show nothing: the error that follows says it."""

    def begin_timing(self) -> None:
        """Show the steps of the timed pass from now on."""
        self._label = ""
        self._bar.set_postfix_str("")

    def timed(self, found: TimedPass) -> None:
        """Show how far the timed pass is."""
        from moe_eval_plugin.sweeps.timing.text import progress_text

        self._bar.set_description_str(progress_text(found))

    def fail_timing(self, reason: str) -> None:
        """Show why the timed pass failed."""
        self.note(f"The timed pass failed: {reason}")

    def note(self, text: str) -> None:
        """Show lines above the bar."""
        self._bar.write(text)

    def close(self) -> None:
        """End the bar."""
        self._label = ""
        self._bar.close()

    def _to_the_end_of_settings(self) -> None:
        self._bar.update(self._n_ended * self._n_questions - self._bar.n)


def make_bar() -> Any:  # noqa: ANN401  (tqdm has no types)
    """Return a bar over questions."""
    with warnings.catch_warnings():
        # Without ipywidgets a notebook gets the bar of a terminal, which is good enough.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    return tqdm(unit=" questions", dynamic_ncols=True)
