"""What a host's model needs of its engine: each adapter implements these methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from moe_eval_plugin.engines.chat_template import ChatTemplate
    from moe_eval_plugin.engines.expert_request import ExpertRequest, ModelConfig
    from moe_eval_plugin.engines.generation import GenerationSettings
    from moe_eval_plugin.engines.request import Conversation, GeneratedAnswer, Job
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.hosts.run_options import RunOptions
    from moe_eval_plugin.hosts.run_recorder import Meter, RunRecorder
    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.results.steady_decode import SteadyDecode


class JobRunner(Protocol):
    """Runs the jobs of one call of the host on an engine, and reports each batch."""

    def answer(self, jobs: Sequence[Job], answers: dict[int, Any]) -> None:
        """Generate or score each job, into ``answers`` by index; ``None`` for one refused."""

    def ask(self, job: Job, build: Callable[[], Conversation]) -> Sequence[GeneratedAnswer]:
        """Answer one round of a job that has several; no answer where it is refused."""

    def end_rounds(self, job: Job, rounds: Sequence[Any]) -> None:
        """Report that all rounds of a job were answered."""


class EngineAdapter(ABC):
    """The part of a host's model that knows the engine, whatever the host."""

    @property
    @abstractmethod
    def chat_template(self) -> ChatTemplate:
        """The chat template, with the user's arguments to it."""

    @property
    @abstractmethod
    def engine_request(self) -> ExpertRequest:
        """The request for experts that is in force."""

    @classmethod
    @abstractmethod
    def check_settings(cls, settings: GenerationSettings) -> None:
        """Refuse generation arguments that the engine cannot use; raises ``UserError``."""

    @classmethod
    @abstractmethod
    def _parse(cls, model_args: dict[str, Any]) -> tuple[Any, RunOptions]:
        """Sort arguments into options of the engine and of the run, and check their values."""

    @classmethod
    @abstractmethod
    def _check(cls, engine_options: Any, checked: ModelConfig | None) -> ExpertRequest:  # noqa: ANN401
        """Check the requested experts against the model's configuration."""

    @classmethod
    @abstractmethod
    def _read_template(cls, engine_options: Any) -> ChatTemplate:  # noqa: ANN401
        """Read the chat template that the engine will use, without the engine."""

    @abstractmethod
    def _load(self, engine_options: Any, request: ExpertRequest) -> None:  # noqa: ANN401
        """Load the engine."""

    @abstractmethod
    def _observe(self, jobs: Sequence[Job]) -> VerifiedOverride:
        """Verify k on the first requests of one task."""

    @abstractmethod
    def _meter(self) -> Meter | None:
        """Build the meter of memory and energy; ``None`` if they are not measured."""

    @abstractmethod
    def _runner(
        self, jobs: Sequence[Job], recorder: RunRecorder, start: Callable[[], None]
    ) -> AbstractContextManager[JobRunner]:
        """Build the runner of these jobs; ``start`` is called when all is ready for them."""

    @abstractmethod
    def _engine_provenance(self) -> dict[str, Any]:
        """Describe the engine: ``batch_size`` and everything that only it has."""

    def _prepare(self, jobs: Sequence[Job]) -> None:  # noqa: B027  (most engines prepare nothing)
        """Begin a call of the host: prepare what may be done before these jobs are measured.

        There are none where later rounds depend on answers.
        """

    def _gather(self, mine: Any) -> list[Any]:  # noqa: ANN401  (whatever is to be gathered)
        """Collect a value of all processes."""
        return [mine]

    def _steady_decode(self) -> SteadyDecode | None:
        """Measure steady decode at the k of this model, where that is requested."""
        return None

    def _complete(self, record: RunRecord) -> RunRecord:
        """Add to a record what only the engine knows."""
        return record
