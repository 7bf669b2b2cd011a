"""``moe_hf`` and ``moe_hf-multimodal`` in lm-eval, with the choices of its prompts recorded.

What the host would put to the model is put to it in batches of texts of one length: there is no
padding.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.models.releases.names import LAST_LOGITS, forward_arguments
from moe_eval_plugin.prompts.lm_eval_model import PromptLM, PromptMultimodalLM, has_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from moe_eval_plugin.override.recording.record_choices import ChoiceRecorder
    from moe_eval_plugin.override.recording.recorded import RowLabel
    from moe_eval_plugin.prompts.lm_eval_model import TakenText
    from moe_eval_plugin.routing.collect.recording_model import Labeller

GREEDY = {"do_sample": False}


class RecordingLM(PromptLM):
    """The model of one trace, with texts alone."""

    def record(self, recorder: ChoiceRecorder, requests: Sequence[Any], labeller: Labeller) -> None:
        """Put requests of one task to the model, and record the choices of their tokens."""
        texts: list[tuple[TakenText, RowLabel]] = []
        for request in requests:
            for text in self.take(request):
                texts.append((text, labeller.label(len(texts), request.doc_id, text.tokens)))
        for batch in _batches(texts, labeller):
            n_new = labeller.new_tokens if batch[0][0].is_generating else 0
            with recorder.labelled([label for _, label in batch]):
                self._run(torch.tensor([text.tokens for text, _ in batch]), n_new)

    @torch.no_grad()
    def _run(self, rows: Tensor, n_new: int) -> None:
        """Put texts of one length to the model, (rows, tokens), and generate new tokens."""
        rows = rows.to(self.device)
        if n_new:
            self.model.generate(
                input_ids=rows,
                attention_mask=torch.ones_like(rows),
                max_new_tokens=n_new + 1,
                pad_token_id=self.tokenizer.pad_token_id,
                **GREEDY,
            )
            return
        last = {LAST_LOGITS: 1} if LAST_LOGITS in forward_arguments(type(self.model)) else {}
        self.model(rows, **last)


class RecordingMultimodalLM(RecordingLM, PromptMultimodalLM):
    """The same, with images, which are put to the model one by one."""

    def record(self, recorder: ChoiceRecorder, requests: Sequence[Any], labeller: Labeller) -> None:
        """Put requests of one task to the model, and record the choices of their tokens."""
        if not has_images(requests[0]):
            super().record(recorder, requests, labeller)
            return
        for index, request in enumerate(requests):
            taken = self.take_inputs(request)
            tokens, stop = taken.inputs["input_ids"][0].tolist(), [*taken.stop]
            most = len(tokens) + labeller.new_tokens + 1
            with recorder.labelled([labeller.label(index, request.doc_id, tokens)]):
                self._model_multimodal_generate(taken.inputs, most, stop, **GREEDY)


def _batches(
    texts: Sequence[tuple[TakenText, RowLabel]], labeller: Labeller
) -> list[list[tuple[TakenText, RowLabel]]]:
    """Put texts of one length together, without those that are known and have no answer."""
    alike: dict[tuple[int, bool], list[tuple[TakenText, RowLabel]]] = defaultdict(list)
    for text, label in texts:
        has_answer = text.is_generating and labeller.new_tokens > 0
        if has_answer or label.n_known < len(text.tokens):
            alike[len(text.tokens), text.is_generating].append((text, label))
    size = labeller.batch_size
    return [
        group[begin : begin + size]
        for group in alike.values()
        for begin in range(0, len(group), size)
    ]
