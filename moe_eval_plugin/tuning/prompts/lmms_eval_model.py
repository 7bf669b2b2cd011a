"""``moe_hf`` in lmms-eval, whose prompts are put in batches with their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.continuation import continuation_ids
from moe_eval_plugin.engines.refusals import RefusedJobsError
from moe_eval_plugin.engines.transformers.batches.preparing import prepare
from moe_eval_plugin.prompts.lmms_eval_model import PromptMoEHF
from moe_eval_plugin.tuning.prompts.batches import Prompt
from moe_eval_plugin.tuning.prompts.greedy_answers import greedy_answers
from moe_eval_plugin.tuning.prompts.model import LoadedModel, RefusedPromptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.engines.request import Job

NO_TOKENS = "what is scored has no tokens"


class CalibrationMoEHF(PromptMoEHF):
    """The model of one calibration."""

    @property
    def loaded(self) -> LoadedModel:
        """What the calibration itself works with."""
        engine = self.engine
        return LoadedModel(engine.model, engine.at_k, engine.request.model, engine.tokenizer)

    def prompts_of(self, requests: Sequence[Any]) -> list[Prompt]:
        """Return the prompts of one question, each of which was encoded once.

        Raises ``RefusedPromptError`` where one cannot be put to the model.
        """
        found = []
        for request, job in zip(requests, self._jobs_of(requests), strict=True):
            try:
                encoded = prepare(self.engine, [job]).encoded
            except RefusedJobsError as error:
                raise RefusedPromptError(job.describe(), error.reasons[job]) from error
            if job.continuation and not self._continuation(job, encoded.tensors["input_ids"][0]):
                raise RefusedPromptError(job.describe(), NO_TOKENS)
            group = job.task, job.settings.key, job.continuation is None
            prompt = Prompt(request.doc_id, encoded.n_input_tokens[0], group, job)
            found.append(prompt)
        return found

    def encoded_with_answers(
        self, prompts: Sequence[Prompt], n_tokens: int
    ) -> tuple[Mapping[str, Any], list[list[int]]]:
        """Return the inputs of prompts of one group, and the tokens of their answers."""
        jobs: list[Job] = [prompt.source for prompt in prompts]
        inputs = dict(prepare(self.engine, jobs).encoded.tensors)
        if jobs[0].continuation:
            ids = zip(jobs, inputs["input_ids"], inputs["attention_mask"], strict=True)
            return inputs, [self._continuation(job, row[mask == 1]) for job, row, mask in ids]
        settings = jobs[0].settings
        most = min(n_tokens, settings.arguments.get("max_new_tokens") or n_tokens)
        model, tokenizer = self.engine.model, self.engine.tokenizer
        return inputs, greedy_answers(model, tokenizer, inputs, most, settings.until)

    def _continuation(self, job: Job, prompt: Any) -> list[int]:  # noqa: ANN401  (a tensor)
        """Return the tokens that are scored after a prompt (tokens)."""
        text = job.continuation() if job.continuation else ""
        return continuation_ids(self.engine.tokenizer, prompt.tolist(), text)
