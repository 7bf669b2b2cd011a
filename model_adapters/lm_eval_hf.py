"""``moe_hf`` of lm-eval: Hugging Face transformers, at a verified k."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from math import inf, isnan
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from transformers import LogitsProcessorList

from moe_eval_plugin.bench.steady_decode import steady_decode
from moe_eval_plugin.engines.request import PROMPTS_TO_VERIFY, VERIFICATION_NEW_TOKENS
from moe_eval_plugin.engines.transformers.loading import CheckedLoader
from moe_eval_plugin.engines.transformers.model_at_k import ModelAtK
from moe_eval_plugin.engines.transformers.provenance import describe_model
from moe_eval_plugin.engines.transformers.stopping import (
    StopStrings,
    TokenListener,
    cut_answers,
    end_ids,
    ended_by,
)
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.hardware.meter import HardwareMeter
from moe_eval_plugin.hosts.lm_eval.asked import GENERATING, first_of_questions
from moe_eval_plugin.hosts.lm_eval.call_timer import CallTimer
from moe_eval_plugin.hosts.lm_eval.model import MeasuredLM
from moe_eval_plugin.hosts.replacement import replaced
from moe_eval_plugin.measure.phases import PhaseRecorder, marks_for
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.measure.synchronize import synchronize
from moe_eval_plugin.model_adapters.lm_eval_hf_arguments import UNCHECKED, HFArguments
from moe_eval_plugin.model_adapters.lm_eval_hf_contexts import (
    ContextSharing,
    SharedContextsLM,
    TokenRequest,
)
from moe_eval_plugin.models.architecture import image_tower
from moe_eval_plugin.models.checkpoint import resolve
from moe_eval_plugin.override.finite import watch_logits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from lm_eval.api.instance import Instance
    from torch import Tensor

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.hosts.lm_eval.model import TaskCall
    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.results.steady_decode import SteadyDecode


class MoEHFLM(MeasuredLM, SharedContextsLM):
    """``hf`` of lm-eval at a verified k: how requests are read, batched and answered is the host's.

    ``pretrained`` is ``demo``, a folder, a model id of the Hub, or a model that is loaded already.
    """

    model_name: ClassVar[str] = "moe_hf"

    def __init__(self, pretrained: Any = None, **model_args: Any) -> None:  # noqa: ANN401  (see ``HFArguments``)
        arguments = HFArguments.read({"pretrained": pretrained, **model_args})
        request = arguments.check(type(self))
        is_loaded = not isinstance(arguments.pretrained, str)
        self._name, self.profile = arguments.name, arguments.profile
        self.share_contexts = arguments.share_contexts
        self.model_arguments = {} if is_loaded else {**model_args, "pretrained": self._name}
        source = arguments.pretrained if is_loaded else resolve(self._name)
        super().__init__(source, device=arguments.device, **arguments.of_the_host)
        self._stops: dict[tuple[str, ...], StopStrings] = {}
        self._at_k = ModelAtK(self.model, request, self._name)
        self.start_measuring()

    @classmethod
    def _check(cls, arguments: dict[str, Any]) -> None:
        HFArguments.read(arguments).check(cls)

    @property
    def engine_request(self) -> ExpertRequest:
        """The request that is in force."""
        return self._at_k.request

    @property
    def measured_device(self) -> str:
        """The device of the weights, or all GPUs where they lie on several."""
        devices = self._devices()
        return devices.pop() if len(devices) == 1 else self.device.type

    def start_measuring(self) -> None:
        """Begin without records, and with nothing known of what may be shared."""
        super().start_measuring()
        self._largest_batch: int | None = None
        policy, how = self.engine_request.rule.policy, self.share_contexts
        self._sharing = ContextSharing(self.model, policy, how)
        self._n_not_finite: Counter[str] = Counter()

    def set_experts(
        self,
        experts_k: object = None,
        experts_policy: str | None = None,
        renorm: str | None = None,
    ) -> None:
        """Set another k, policy and renormalisation of the loaded model; records are dropped.

        What cannot be used is refused before anything changes.
        """
        self._at_k.set(self.engine_request.model.request(experts_k, experts_policy, renorm))
        self.start_measuring()

    def close(self) -> None:
        """Restore the model's own k."""
        self._at_k.close()

    def tok_batch_encode(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        """Encode a batch of prompts as the host does; part of their latency."""
        with self._encoding():
            encoded: tuple[Tensor, Tensor] = super().tok_batch_encode(*args, **kwargs)
            return encoded

    def _create_model(self, pretrained: str, **kwargs: Any) -> None:  # noqa: ANN401
        """Load as the host does; refuse weights that are missing, unexpected or misshapen."""
        with replaced(self, "AUTO_MODEL_CLASS", CheckedLoader(self.AUTO_MODEL_CLASS)):
            super()._create_model(pretrained, **kwargs)

    def _loglikelihood_tokens(
        self,
        requests: list[TokenRequest],
        disable_tqdm: bool = False,  # noqa: FBT001, FBT002  (the host's)
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        if self._timer is not None:
            for texts, context, continuation in requests:
                tokens = [*context, *continuation][-(self.max_length + 1) : -1]
                self._timer.call.asked.reads(texts, tokens)
        answers: list[tuple[float, bool]] = super()._loglikelihood_tokens(
            requests, disable_tqdm=disable_tqdm, override_bs=override_bs
        )
        bad = [i for i, (score, _) in enumerate(answers) if isnan(score) or score == inf]
        for position in bad:
            answers[position] = (-inf, False)
        if self._timer is not None:
            self._timer.n_not_finite += len(bad)
        return answers

    def _model_call(self, inps: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401
        with self._calling():
            logits: Tensor = super()._model_call(inps, *args, **kwargs)
        return logits

    def _model_generate(
        self,
        context: Tensor,
        max_length: int,
        stop: list[str],
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        generate = partial(super()._model_generate, context, max_length, stop)
        return self._generate(generate, context, kwargs["attention_mask"], max_length, stop, kwargs)

    def _generate(
        self,
        generate: Callable[..., Tensor],
        context: Tensor,
        mask: Tensor,
        max_length: int,
        stop: Sequence[str],
        kwargs: dict[str, Any],
    ) -> Tensor:
        """Call the host's method that generates, timed if a task is."""
        timer = self._timer
        if timer is None:
            return generate(**kwargs)
        if timer.on_token is not None:
            kwargs["logits_processor"] = LogitsProcessorList([TokenListener(timer.on_token)])
        with timer.calling(), watch_logits(self.model) as watch:
            sequences = generate(**kwargs)
        n_prompt = context.shape[1]
        # A view: what is emptied here is empty for the host.
        rows, steps = sequences[:, n_prompt:], watch.first_steps(len(sequences))
        self._note_answers(timer, rows, steps, mask, stop, max_length - n_prompt)
        return sequences

    def _note_answers(
        self,
        timer: CallTimer,
        rows: Tensor,
        steps: Sequence[int],
        mask: Tensor,
        stop: Sequence[str],
        limit: int,
    ) -> None:
        """Count the tokens of answers up to their end: the host goes on until all rows have one.

        ``steps`` are the first ones with NaN or infinity; an answer that has one is emptied.
        """
        until = tuple(text for text in stop if text)
        ends = end_ids(self.model) | {self.tokenizer.eos_token_id}
        stops = self._stops.setdefault(until, StopStrings(self.tokenizer, until))
        answers = cut_answers(rows.tolist(), ends, stops, 0)
        for row, (ids, step) in enumerate(zip(answers, steps, strict=True)):
            if step < len(ids):
                timer.n_not_finite += 1
                rows[row] = self.eot_token_id
                continue
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            timer.call.ends.add(timer.call.task, text, ended_by(ids, text, ends, until), limit)
        timer.generated(int(mask.sum()), [len(ids) for ids in answers])

    def _detect_batch_size(self, *args: Any, **kwargs: Any) -> int:  # noqa: ANN401
        """Find the batch size as the host does, without its time and its memory."""
        timer, self._timer = self._timer, None
        try:
            with nullcontext() if timer is None else timer.not_counted():
                found: int = super()._detect_batch_size(*args, **kwargs)
                self.restart_meter()
        finally:
            self._timer = timer
        self._largest_batch = max(found, self._largest_batch or 0)
        return found

    def _observe(self, requests: Sequence[Instance]) -> VerifiedOverride:
        chosen = first_of_questions(requests, PROMPTS_TO_VERIFY)
        if requests[0].request_type == GENERATING:
            return self._at_k.verify(lambda: self._generate_two(chosen), len(chosen))
        return self._at_k.verify(lambda: self._score(chosen), 1)

    def _generate_two(self, requests: Sequence[Instance]) -> None:
        """Generate two tokens after each prompt: a prefill and a step of decode."""
        most = self.max_length - VERIFICATION_NEW_TOKENS
        ids, mask = self.tok_batch_encode(
            [request.args[0] for request in requests],
            left_truncate_len=most,
            truncation=self.truncation,
        )
        self._model_generate(
            context=ids.to(self.device),
            attention_mask=mask.to(self.device),
            max_length=ids.shape[1] + VERIFICATION_NEW_TOKENS,
            stop=[],
            min_new_tokens=VERIFICATION_NEW_TOKENS,
        )

    def _score(self, requests: Sequence[Instance]) -> None:
        """Compute the logits of each text that is scored, alone: without padding."""
        for request in requests:
            context, *continuation = request.args if len(request.args) > 1 else ("", *request.args)
            ids = self.tok_encode(context + continuation[0])[-(self.max_length + 1) :]
            tokens = ids[:-1] or [self.prefix_token_id]
            self._model_call(torch.tensor([tokens], dtype=torch.long, device=self.device))

    @contextmanager
    def _timing(self, call: TaskCall) -> Iterator[None]:
        with ExitStack() as stack:
            phases = None
            if self.profile != "off":
                marks = marks_for(self._devices())
                recorder = PhaseRecorder(self.model, image_tower(self.model), marks)
                phases = stack.enter_context(recorder)
            self._timer = CallTimer(call, Stopwatch(lambda: synchronize(str(self.device)), phases))
            stack.callback(setattr, self, "_timer", None)
            yield
            self._n_not_finite[call.task] += self._timer.n_not_finite
            self._timer.finish()

    def _devices(self) -> set[str]:
        """Return the devices of the weights, without those that lie on the disk."""
        return {str(parameter.device) for parameter in self.model.parameters()} - {"meta"}

    def _encoding(self) -> AbstractContextManager[None]:
        return nullcontext() if self._timer is None else self._timer.encoding()

    def _calling(self) -> AbstractContextManager[None]:
        return nullcontext() if self._timer is None else self._timer.calling()

    def _meter(self) -> HardwareMeter | None:
        return None if self.profile == "off" else HardwareMeter(self.measured_device)

    def _steady_decode(self) -> SteadyDecode | None:
        return steady_decode(self.model) if self.profile == "full" else None

    def _complete(self, record: RunRecord) -> RunRecord:
        shared, n_bad = self._sharing.describe(record.task), self._n_not_finite[record.task]
        return record.with_provenance(shared_contexts=shared, n_not_finite=n_bad)

    def _engine_provenance(self) -> dict[str, Any]:
        revision = self.engine_request.model.revision
        return {
            **describe_model(self.model, self._name, revision, torch.device(self.device)),
            "hardware": describe_device(self.measured_device).to_dict(),
            "batch_size": self._largest_batch if self.batch_size == "auto" else self.batch_size,
            "batch_size_requested": self.batch_size,
            "profile": self.profile,
            "weights_not_checked": [name for name in UNCHECKED if self.model_arguments.get(name)],
        }
