"""``moe_hf`` in lmms-eval, whose prompts are encoded without being scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.refusals import RefusedJobsError
from moe_eval_plugin.engines.transformers.batches.preparing import prepare
from moe_eval_plugin.engines.transformers.stopping import end_ids
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.hosts.unanswered import raise_unless_counted
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.engines.transformers.encoding import Encoded


class PromptMoEHF(MoEHF):
    """A model of lmms-eval, for its prompts."""

    @property
    def module(self) -> nn.Module:
        """The model of transformers."""
        module: nn.Module = self.engine.model
        return module

    @property
    def end_tokens(self) -> set[int]:
        """Tokens that end an answer, and the one that fills rows behind it."""
        ends = {*end_ids(self.engine.model), self.engine.tokenizer.pad_token_id}
        return {token for token in ends if token is not None}

    def verify(self, requests: Sequence[Any]) -> None:
        """Observe k on the first requests of a task.

        Raises ``OverrideNotEffectiveError`` where tokens use another one, and ``UserError`` for a
        task that asks in several rounds.
        """
        self._observe(self._jobs_of(requests))

    def close(self) -> None:
        """Restore the model's own k."""
        self.engine.close()

    def _jobs_of(self, requests: Sequence[Any]) -> Sequence[Job]:
        jobs = self.jobs(requests[0].request_type, list(requests))
        if not jobs:
            message = (
                f"{requests[0].task_name} asks in several rounds, and the later ones depend on the "
                "model's answers, so its prompts are not known before. Leave the task out."
            )
            raise UserError(message)
        return jobs

    def _encoded(self, jobs: Sequence[Job]) -> tuple[Sequence[Job], Encoded | None]:
        """Return the jobs that can be put to the model, encoded; ``None`` if there are none.

        ``_refuse`` gets the others.
        """
        while jobs:
            try:
                return jobs, prepare(self.engine, jobs).encoded
            except RefusedJobsError as error:
                for job, reason in error.reasons.items():
                    self._refuse(job, reason)
                jobs = error.others(jobs)
        return jobs, None

    def _refuse(self, job: Job, reason: str) -> None:
        """Raise ``UnansweredQuestionError``, unless such questions count as unanswered."""
        raise_unless_counted(self.options.unanswerable, job, reason)
