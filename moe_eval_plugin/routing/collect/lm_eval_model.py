"""``moe_hf`` and ``moe_hf-multimodal`` in lm-eval, with the choices of its prompts recorded.

The host itself reads and encodes each request. What it would put to the model is taken instead, and
put to it in batches of texts of one length: there is no padding.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.engines.transformers.stopping import end_ids
from moe_eval_plugin.hosts.lm_eval.asked import GENERATING
from moe_eval_plugin.hosts.lm_eval.model import MeasuredLM
from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from moe_eval_plugin.model_adapters.lm_eval_hf_multimodal import WITH_IMAGES, MoEHFMultimodalLM
from moe_eval_plugin.models.releases.names import forward_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from moe_eval_plugin.model_adapters.lm_eval_hf_contexts import TokenRequest
    from moe_eval_plugin.override.recording.record_choices import ChoiceRecorder
    from moe_eval_plugin.override.recording.recorded import RowLabel
    from moe_eval_plugin.routing.collect.recording_model import Labeller

LAST_LOGITS = "logits_to_keep"
GREEDY = {"do_sample": False}


@dataclass(frozen=True)
class _Text:
    """A text that the host puts to the model, and whether it generates an answer to it."""

    tokens: tuple[int, ...]
    is_generating: bool


class RecordingLM(MoEHFLM):
    """The model of one trace, with texts alone."""

    # The texts of the request that the host encodes, while they are taken from it.
    _taken: list[_Text] | None = None

    @property
    def module(self) -> nn.Module:
        """The model of transformers."""
        module: nn.Module = self.model
        return module

    @property
    def end_tokens(self) -> set[int]:
        """Tokens that end an answer, and the one that fills rows behind it."""
        ends = {*end_ids(self.model), self.eot_token_id, self.tokenizer.pad_token_id}
        return {token for token in ends if token is not None}

    def verify(self, requests: Sequence[Any]) -> None:
        """Observe k on the first requests of a task.

        Raises ``OverrideNotEffectiveError`` where tokens use another one.
        """
        self._observe(requests)

    def record(self, recorder: ChoiceRecorder, requests: Sequence[Any], labeller: Labeller) -> None:
        """Put requests of one task to the model, and record the choices of their tokens."""
        texts: list[tuple[_Text, RowLabel]] = []
        for request in requests:
            for text in self._take(request):
                texts.append((text, labeller.label(len(texts), request.doc_id, text.tokens)))
        for batch in _batches(texts, labeller):
            n_new = labeller.new_tokens if batch[0][0].is_generating else 0
            with recorder.labelled([label for _, label in batch]):
                self._run(torch.tensor([text.tokens for text, _ in batch]), n_new)

    def _loglikelihood_tokens(
        self,
        requests: list[TokenRequest],
        disable_tqdm: bool = False,  # noqa: FBT001, FBT002  (the host's)
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        if self._taken is None:
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        for _, context, continuation in requests:
            # The last token is scored, and not put to the model.
            tokens = [*context, *continuation][-(self.max_length + 1) : -1]
            self._taken.append(_Text(tuple(tokens), is_generating=False))
        return [(0.0, False)] * len(requests)

    def _model_generate(
        self,
        context: Tensor,
        max_length: int,
        stop: list[str],
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        if self._taken is None:
            return super()._model_generate(context, max_length, stop, **kwargs)
        self._taken.append(_Text(tuple(context[0].tolist()), is_generating=True))
        return context

    def _take(self, request: Any) -> list[_Text]:  # noqa: ANN401  (the host's)
        """Return the texts that the host would put to the model for one request."""
        texts: list[_Text] = []
        self._taken = texts
        try:
            self._ask_alone(request)
        finally:
            self._taken = None
        return texts

    def _ask_alone(self, request: Any) -> None:  # noqa: ANN401  (the host's)
        """Pass one request to the host's own method, without measuring anything."""
        method: Callable[..., object] = getattr(super(MeasuredLM, self), request.request_type)
        method([request], disable_tqdm=True)

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


class RecordingMultimodalLM(RecordingLM, MoEHFMultimodalLM):
    """The same, with images, which are put to the model one by one."""

    # Records the tokens of the request that the host encodes, while it does.
    _record_inputs: Callable[[Any, Callable[..., Tensor]], Tensor] | None = None

    def record(self, recorder: ChoiceRecorder, requests: Sequence[Any], labeller: Labeller) -> None:
        """Put requests of one task to the model, and record the choices of their tokens."""
        if len(requests[0].args) < WITH_IMAGES or requests[0].request_type != GENERATING:
            super().record(recorder, requests, labeller)
            return
        for index, request in enumerate(requests):

            def run(
                inputs: Any,  # noqa: ANN401
                generate: Callable[..., Tensor],
                index: int = index,
                question: int = request.doc_id,
            ) -> Tensor:
                tokens = inputs["input_ids"][0].tolist()
                with recorder.labelled([labeller.label(index, question, tokens)]):
                    return generate(len(tokens) + labeller.new_tokens + 1)

            self._record_inputs = run
            try:
                self._ask_alone(request)
            finally:
                self._record_inputs = None

    def _model_multimodal_generate(
        self,
        inputs: Any,  # noqa: ANN401  (a mapping of the library)
        max_length: int,
        stop: list[str],
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        generate = super()._model_multimodal_generate
        if self._record_inputs is None:
            return generate(inputs, max_length, stop, **kwargs)
        return self._record_inputs(inputs, lambda n: generate(inputs, n, stop, **GREEDY))


def _batches(
    texts: Sequence[tuple[_Text, RowLabel]], labeller: Labeller
) -> list[list[tuple[_Text, RowLabel]]]:
    """Put texts of one length together, without those that are known and have no answer."""
    alike: dict[tuple[int, bool], list[tuple[_Text, RowLabel]]] = defaultdict(list)
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
