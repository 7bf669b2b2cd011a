"""Print the progress of ``moe-eval demo``: a line for each k, once it is verified and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.commands.sweep_progress import SweepProgress
from moe_eval_plugin.text import GAP, HUNDRED, MINUS

if TYPE_CHECKING:
    from moe_eval_plugin.sweeps.table import Row


class DemoProgress(SweepProgress):
    """Progress over the sweep of the demo, whose settings differ in one k."""

    _verified_as = ""

    def _show_header(self) -> None:
        """Show none: each line says what its numbers are."""

    def _show_verified(self, text: str) -> None:
        self._verified_as = f"verified: {text}"

    def _show_row(self, row: Row) -> None:
        found = "" if row.score is None else f"accuracy {row.score:6.1%}"
        change = ""
        if row.difference is not None:
            change = f"{row.difference * HUNDRED:+.1f} points".replace("-", MINUS)
        cells = (f"k={row.experts_k}", found, f"{change:>12}", self._verified_as)
        self.note(GAP.join(cells).rstrip())
        self._verified_as = ""
