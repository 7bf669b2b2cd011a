"""Where the numbers of a routing study come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.text import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.routing.sources import Source


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from."""

    tasks: tuple[str, ...]
    n_questions: int
    n_tokens: int
    sources: tuple[Source, ...]
    """The trace, and the one that it is compared with."""
    command: str
    """The command that made the page."""

    @property
    def facts(self) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
        """For each trace its heading, and names and values."""
        return tuple(
            (
                f"Compared with {one.trace.model}" if number else one.trace.model,
                tuple(self._of(one, number)),
            )
            for number, one in enumerate(self.sources)
        )

    def _of(self, one: Source, number: int) -> Iterator[tuple[str, str]]:
        known: dict[str, object] = {
            "Model": one.trace.model,
            "Revision": one.trace.revision,
            "Digest of the weights": one.trace.weights,
            "Tasks": None if number else ", ".join(self.tasks),
            "Questions": None if number else f"{self.n_questions:,}",
            "Tokens": None if number else f"{self.n_tokens:,}",
            "Machine": as_text(dict(one.collection.machine)),
            **one.collection.settings,
            "Versions": as_text(dict(one.collection.versions)),
            "Date": one.collection.date,
            "Command": one.collection.command,
        }
        for name, value in known.items():
            if value not in (None, "", {}, []):
                yield name, as_text(value)
