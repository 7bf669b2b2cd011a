"""``moe_hf`` and ``moe_hf-multimodal`` in lm-eval, whose prompts get their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from moe_eval_plugin.engines.refusals import reason_of
from moe_eval_plugin.prompts.lm_eval_model import PromptLM, PromptMultimodalLM, has_images
from moe_eval_plugin.tuning.prompts.batches import Prompt
from moe_eval_plugin.tuning.prompts.greedy_answers import greedy_answers
from moe_eval_plugin.tuning.prompts.model import LoadedModel, RefusedPromptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.prompts.lm_eval_model import TakenText


@dataclass(frozen=True)
class _WithImages:
    """A request of the host with images, and how its answer is generated."""

    request: Any
    n_new: int
    stop: tuple[str, ...]


class CalibrationLM(PromptLM):
    """The model of one calibration, with texts alone."""

    @property
    def loaded(self) -> LoadedModel:
        """What the calibration itself works with."""
        at_k = self._at_k
        return LoadedModel(self.model, at_k, at_k.request.model, self.tokenizer)

    def prompts_of(self, requests: Sequence[Any]) -> list[Prompt]:
        """Return the prompts of one question.

        Raises ``RefusedPromptError`` where one cannot be put to the model.
        """
        try:
            return [prompt for request in requests for prompt in self._prompts_of(request)]
        except Exception as error:
            reason = reason_of(error)
            if reason is None:
                raise
            name = f"Document {requests[0].doc_id} of {requests[0].task_name}, counted from 0,"
            raise RefusedPromptError(name, reason) from error

    def encoded_with_answers(
        self, prompts: Sequence[Prompt], n_tokens: int
    ) -> tuple[Mapping[str, Any], list[list[int]]]:
        """Return the inputs of prompts of one group, and the tokens of their answers."""
        texts: list[TakenText] = [prompt.source for prompt in prompts]
        inputs = _padded_left([text.prompt for text in texts])
        if not texts[0].is_generating:
            return inputs, [list(text.scored) for text in texts]
        most = min(n_tokens, texts[0].n_new)
        return inputs, greedy_answers(self.model, self.tokenizer, inputs, most, texts[0].stop)

    def _prompts_of(self, request: Any) -> list[Prompt]:  # noqa: ANN401  (the host's)
        return [
            Prompt(request.doc_id, len(one.prompt), (request.task_name, one.n_new, one.stop), one)
            for one in self.take(request)
        ]


class CalibrationMultimodalLM(CalibrationLM, PromptMultimodalLM):
    """The same, with images."""

    def encoded_with_answers(
        self, prompts: Sequence[Prompt], n_tokens: int
    ) -> tuple[Mapping[str, Any], list[list[int]]]:
        """Return the inputs of prompts of one group, and the tokens of their answers."""
        first = prompts[0].source
        if not isinstance(first, _WithImages):
            return super().encoded_with_answers(prompts, n_tokens)
        requests = [prompt.source.request for prompt in prompts]
        inputs = dict(self.encode_with_images(requests, first.n_new))
        most = min(n_tokens, first.n_new)
        return inputs, greedy_answers(self.model, self.tokenizer, inputs, most, first.stop)

    def _prompts_of(self, request: Any) -> list[Prompt]:  # noqa: ANN401  (the host's)
        if not has_images(request):
            return super()._prompts_of(request)
        taken = self.take_inputs(request)
        n_prompt = taken.inputs["input_ids"].shape[1]
        group = request.task_name, taken.n_new, taken.stop
        source = _WithImages(request, taken.n_new, taken.stop)
        return [Prompt(request.doc_id, n_prompt, group, source)]


def _padded_left(prompts: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """Return the inputs of prompts; what fills a row before them is their first token."""
    rows = [torch.tensor(prompt, dtype=torch.long) for prompt in prompts]
    ids = pad_sequence(rows, batch_first=True, padding_value=-1, padding_side="left")
    mask = (ids >= 0).long()
    first = torch.stack([row[:1] for row in rows])
    return {"input_ids": torch.where(mask == 1, ids, first), "attention_mask": mask}
