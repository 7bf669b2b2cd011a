"""``moe_hf`` in lmms-eval, with the choices of its prompts recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.continuation import continuation_ids
from moe_eval_plugin.engines.refusals import RefusedJobsError
from moe_eval_plugin.engines.transformers.batches.preparing import make_queue, prepare
from moe_eval_plugin.engines.transformers.stopping import end_ids
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.hosts.unanswered import raise_unless_counted
from moe_eval_plugin.model_adapters.lmms_eval_hf import MoEHF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.engines.transformers.encoding import Encoded
    from moe_eval_plugin.override.recording.record_choices import ChoiceRecorder
    from moe_eval_plugin.routing.collect.recording_model import Labeller


class RecordingMoEHF(MoEHF):
    """The model of one trace."""

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

    def record(self, recorder: ChoiceRecorder, requests: Sequence[Any], labeller: Labeller) -> None:
        """Put requests of one task to the model, and record the choices of their tokens."""
        jobs = self._jobs_of(requests)
        if any(job.continuation for job in jobs):
            for job in jobs:
                self._record_scored(recorder, job, labeller)
            return
        queue = make_queue(self.engine, jobs, labeller.batch_size)
        while queue:
            self._record_batch(recorder, queue.pop(), labeller)

    def close(self) -> None:
        """Restore the model's own k."""
        self.engine.close()

    def _jobs_of(self, requests: Sequence[Any]) -> Sequence[Job]:
        jobs = self.jobs(requests[0].request_type, list(requests))
        if not jobs:
            message = (
                f"{requests[0].task_name} asks in several rounds, and the later ones depend on the "
                "model's answers. Its routing cannot be recorded: leave the task out."
            )
            raise UserError(message)
        return jobs

    def _record_batch(
        self, recorder: ChoiceRecorder, batch: Sequence[Job], labeller: Labeller
    ) -> None:
        jobs, encoded = self._encoded(batch)
        if encoded is None:
            return
        pairs = zip(jobs, _texts(encoded), strict=True)
        labels = [labeller.label(job.index, _number(job), text) for job, text in pairs]
        arguments = {"do_sample": False, "max_new_tokens": labeller.new_tokens + 1}
        until = jobs[0].settings.until if labeller.new_tokens else ()
        with recorder.labelled(labels):
            self.engine.generate(encoded, arguments, until)

    def _record_scored(self, recorder: ChoiceRecorder, job: Job, labeller: Labeller) -> None:
        jobs, encoded = self._encoded([job])
        if encoded is None or not jobs or job.continuation is None:
            return
        (prompt,), text = _texts(encoded), job.continuation()
        scored = continuation_ids(self.engine.tokenizer, prompt, text)
        with recorder.labelled([labeller.label(job.index, _number(job), [*prompt, *scored])]):
            self.engine.score(encoded, text)

    def _encoded(self, jobs: Sequence[Job]) -> tuple[Sequence[Job], Encoded | None]:
        """Return the jobs that can be put to the model, encoded; ``None`` if there are none.

        Raises ``UnansweredQuestionError`` for others, unless such questions count as unanswered.
        """
        while jobs:
            try:
                return jobs, prepare(self.engine, jobs).encoded
            except RefusedJobsError as error:
                for job, reason in error.reasons.items():
                    raise_unless_counted(self.options.unanswerable, job, reason)
                jobs = error.others(jobs)
        return jobs, None


def _texts(encoded: Encoded) -> list[list[int]]:
    """Return the tokens of each conversation, without padding."""
    ids, mask = encoded.tensors["input_ids"], encoded.tensors["attention_mask"]
    return [row[kept != 0].tolist() for row, kept in zip(ids, mask, strict=True)]


def _number(job: Job) -> int:
    """Return the number of a question: that of its row in the data."""
    return int(str(job.question))
