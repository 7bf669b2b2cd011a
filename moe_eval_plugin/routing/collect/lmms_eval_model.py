"""``moe_hf`` in lmms-eval, with the choices of its prompts recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.continuation import continuation_ids
from moe_eval_plugin.engines.transformers.batches.preparing import make_queue
from moe_eval_plugin.prompts.lmms_eval_model import PromptMoEHF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.engines.request import Job
    from moe_eval_plugin.engines.transformers.encoding import Encoded
    from moe_eval_plugin.override.recording.record_choices import ChoiceRecorder
    from moe_eval_plugin.routing.collect.recording_model import Labeller


class RecordingMoEHF(PromptMoEHF):
    """The model of one trace."""

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


def _texts(encoded: Encoded) -> list[list[int]]:
    """Return the tokens of each conversation, without padding."""
    ids, mask = encoded.tensors["input_ids"], encoded.tensors["attention_mask"]
    return [row[kept != 0].tolist() for row, kept in zip(ids, mask, strict=True)]


def _number(job: Job) -> int:
    """Return the number of a question: that of its row in the data."""
    return int(str(job.question))
