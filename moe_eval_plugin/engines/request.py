"""What every engine takes: conversations, and jobs with their generation settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.engines.generation import GenerationSettings

Conversation = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Job:
    """One request of a host: ``index`` is its place, ``build`` reads its images."""

    index: int
    task: str
    context: str
    build: Callable[[], Conversation]
    settings: GenerationSettings
