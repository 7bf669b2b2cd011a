"""One run of a host as far as sweeps set it, whichever host it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HostRun:
    """A model, its tasks, and how questions are put to it."""

    model: str
    """Backend, for instance ``moe_hf``."""
    model_args: str = ""
    """Arguments of the backend: ``name=value,name=value``."""
    tasks: tuple[str, ...] = ()
    """Tasks, groups or patterns."""
    limit: int | None = None
    """Questions of each task; ``None`` for all."""
    batch_size: str = "1"
    """Questions in a batch, or ``auto``."""
    device: str | None = None
    """Device of the model; ``None`` leaves it to the model."""
    gen_kwargs: str | None = None
    """Generation arguments that replace those of the tasks."""
    include_path: str | None = None
    """A folder with more tasks."""
    num_fewshot: int | None = None
    """Examples in each prompt; ``None`` leaves it to the task."""
    apply_chat_template: bool = False
    """Whether prompts are passed through the chat template, where the host leaves that open."""
    seed: int | None = None
    """Seed of random numbers; ``None`` leaves it to the host."""
