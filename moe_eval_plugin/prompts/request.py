"""Whose prompts are needed: a model, and the questions of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.harness import LM_EVAL, LMMS_EVAL, installed_harness
from moe_eval_plugin.hosts.shared.host_run import HostRun
from moe_eval_plugin.option_values import read_int

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.hosts.harness import Harness

# Arguments of a model that no request has among its ``model_args``.
OWN = ("pretrained", "experts_k", "experts_policy", "renorm")


@dataclass(frozen=True)
class PromptRequest:
    """A model on transformers, and the questions that are put to it.

    Raises ``InvalidArgumentError`` for a value that is not possible.
    """

    pretrained: str
    """``demo``, a folder, or a model id of the Hub."""
    tasks: tuple[str, ...]
    """Names of tasks of the host."""
    host: str = LMMS_EVAL
    """The harness that asks the questions: ``lmms-eval`` or ``lm-eval``."""
    limit: int | None = None
    """Questions of each task, from the first; ``None`` for all."""
    model_args: str = ""
    """Further arguments of the model, ``name=value,name=value``, as in a sweep."""
    batch_size: int = 8
    """Texts that the model is called with at once."""
    device: str | None = None
    """Device of the model; ``None`` is the GPU if there is one, else the CPU."""
    include_path: str | None = None
    """A folder with more tasks."""
    num_fewshot: int | None = None
    """Examples in each prompt; ``None`` leaves it to the task. For lm-eval."""
    apply_chat_template: bool = False
    """Whether prompts are passed through the chat template, where the host leaves that open."""

    # Why arguments of ``OWN`` are refused, as the end of a sentence.
    own_because: ClassVar[str] = "which experts tokens use is decided here"

    def __post_init__(self) -> None:
        if self.needs_tasks and not self.tasks:
            message = "No tasks are named. Name at least one, for instance easy_vqa."
            raise InvalidArgumentError(message)
        read_int("batch_size", self.batch_size, at_least=1)
        if self.limit is not None:
            read_int("limit", self.limit, at_least=1)

    def checked_harness(self) -> Harness:
        """Return the harness of the host, which has these tasks and options; nothing is loaded.

        Raises ``MissingDependencyError`` where the host is not installed, and
        ``InvalidArgumentError`` for tasks and arguments that it does not have.
        """
        host = installed_harness(self.host)
        for name in sorted(host.argument_names(self.model_args) & set(OWN)):
            message = (
                f"{name} cannot be given in the arguments of the model ({self.model_args}): the "
                f"model and k are named apart, and {self.own_because}. Leave it out."
            )
            raise InvalidArgumentError(message)
        host.check_options(self.run(""))
        host.check_tasks(self.tasks, self.include_path)
        return host

    @property
    def needs_tasks(self) -> bool:
        """Whether tasks must be named."""
        return True

    def named_arguments(self) -> Mapping[str, str]:
        """Return the arguments of the model that the request itself names."""
        return {"pretrained": self.pretrained}

    def run(self, model: str) -> HostRun:
        """Return the run of the host, for one of its models."""
        return HostRun(
            model=model,
            model_args=self.model_args,
            tasks=self.tasks,
            limit=self.limit,
            batch_size=str(self.batch_size),
            device=self.device,
            include_path=self.include_path,
            num_fewshot=self.num_fewshot,
            apply_chat_template=self.apply_chat_template,
        )

    @property
    def is_lm_eval(self) -> bool:
        """Whether lm-eval asks the questions."""
        return self.host == LM_EVAL
