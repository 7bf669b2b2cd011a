"""Show the steps of a study as a bar: of a notebook, or of a terminal where that runs it."""

from __future__ import annotations

from moe_eval_plugin.api.sweeping.notebook_progress import make_bar


class ProgressBar:
    """One bar, begun anew for each step that is counted."""

    def __init__(self) -> None:
        self._bar = make_bar()

    def doing(self, what: str) -> None:
        """Show a step that is not counted."""
        self._bar.reset()
        self._bar.set_description_str(what)

    def counting(self, what: str, total: int, unit: str) -> None:
        """Show a step of ``total`` units."""
        self._bar.unit = f" {unit}"
        self._bar.reset(total=total)
        self._bar.set_description_str(what)

    def advance(self, n: int = 1) -> None:
        """Count units of the current step."""
        self._bar.update(n)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
