"""Where the numbers of a routing study come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.text import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.routing.sources import Source

MACHINE = {"name": "{}", "devices": "devices: {}", "threads": "threads: {}"}
SETTINGS = {
    "host": "Host",
    "limit": "Questions of each task, at most",
    "model_args": "Model arguments",
    "batch_size": "Batch size",
    "device": "Device",
    "num_fewshot": "Examples in each prompt",
    "apply_chat_template": "Chat template applied",
    "include_path": "Folder with more tasks",
    "new_tokens": "Generated tokens recorded of each answer",
    "max_tokens": "Tokens recorded, at most",
}


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
            "Machine": ", ".join(
                MACHINE.get(name, "{}").format(value)
                for name, value in one.collection.machine.items()
            ),
            **{SETTINGS.get(name, name): value for name, value in one.collection.settings.items()},
            "Versions": as_text(dict(one.collection.versions)),
            "Date": one.collection.date,
            "Command": None if one.collection.command == self.command else one.collection.command,
        }
        for name, value in known.items():
            if value not in (None, "", {}, []):
                yield name, as_text(value)
