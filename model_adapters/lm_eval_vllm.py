"""``moe_vllm`` and ``moe_vllm-vlm`` in lm-eval: its own models for vLLM, at a verified k."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import finalize

from lm_eval.models.utils import resize_image
from vllm import SamplingParams, TokensPrompt

from moe_eval_plugin.engines.checks.checkpoint import check_vllm_files
from moe_eval_plugin.engines.request import PROMPTS_TO_VERIFY, VERIFICATION_NEW_TOKENS
from moe_eval_plugin.engines.vllm.hardware import WorkersHardware
from moe_eval_plugin.engines.vllm.options import check_vllm_request
from moe_eval_plugin.engines.vllm.process import earlier_code, engine_alive_or_fail
from moe_eval_plugin.engines.vllm.request_times import request_phases
from moe_eval_plugin.engines.vllm.running import RunningVLLM, start_timed
from moe_eval_plugin.hosts.lm_eval.asked import SCORING, first_of_questions
from moe_eval_plugin.hosts.lm_eval.model import MeasuredLM
from moe_eval_plugin.hosts.replacement import replaced
from moe_eval_plugin.model_adapters.lm_eval_vllm_arguments import parse_arguments
from moe_eval_plugin.model_adapters.lm_eval_vllm_calls import TimedCalls
from moe_eval_plugin.model_adapters.lm_eval_vllm_classes import VLLM, VLLM_VLM, vllm_causallms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lm_eval.api.instance import Instance

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.hosts.lm_eval.model import TaskCall
    from moe_eval_plugin.model_adapters.lm_eval_vllm_arguments import HostArguments
    from moe_eval_plugin.results.record import RunRecord

logger = logging.getLogger(__name__)


class MoEVLLM(MeasuredLM, VLLM):
    """Text by vLLM; ``--model_args`` are ours, those of lm-eval's ``vllm``, and vLLM's own."""

    host_class: ClassVar[type] = VLLM
    _said_greedy = False

    def __init__(self, **model_args: Any) -> None:  # noqa: ANN401  (what the user wrote)
        arguments = parse_arguments(model_args, self.host_class)
        self.model_arguments = {**model_args, "pretrained": arguments.options.pretrained}
        self._calls: TimedCalls | None = None
        # The last calls of each task: those that score, and those that generate.
        self._of_tasks: dict[tuple[str, bool], TimedCalls] = {}
        self._start(arguments, check_vllm_request(arguments.options))
        self.hardware = WorkersHardware(self.model.collective_rpc)
        self.hardware_facts = self.hardware.device()
        self.start_measuring()

    @classmethod
    def _check(cls, arguments: dict[str, Any]) -> None:
        options = parse_arguments(arguments, cls.host_class).options
        check_vllm_request(options)
        load_format = options.engine.get("load_format")
        check_vllm_files(options.pretrained, options.revision, load_format)

    @property
    def engine_request(self) -> ExpertRequest:
        """The request that is in force."""
        return self.running.request

    def close(self) -> None:
        """Stop vLLM."""
        self._stop()

    def modify_gen_kwargs(
        self,
        gen_kwargs: dict[str, Any],
        eos: str | list[str] | None = None,
        default_max_gen_toks: int = 256,
    ) -> tuple[dict[str, Any], list[str], int]:
        """Return what the host makes of a task's settings, greedy where they do not say.

        The host means this too, but leaves the temperature to vLLM, whose default is 1.
        """
        found, until, max_gen_toks = super().modify_gen_kwargs(
            gen_kwargs, eos, default_max_gen_toks
        )
        if not gen_kwargs.get("do_sample") and "temperature" not in found:
            found["temperature"] = 0.0
            if self._calls is not None:
                self._calls.is_greedy_by_default = True
                self._say_greedy(self._calls.call.task)
        return found, until, max_gen_toks

    def _say_greedy(self, task: str) -> None:
        """Log once what is decided for tasks that do not say how to choose tokens."""
        if not self._said_greedy:
            self._said_greedy = True
            logger.warning(
                "%s names neither do_sample nor temperature: it is answered at temperature 0, as "
                "by moe_hf. The vllm of lm-eval would sample at temperature 1.",
                task,
            )

    def _start(self, arguments: HostArguments, request: ExpertRequest) -> None:
        """Build the host's class, with a vLLM that we start for it."""
        options, start_s = arguments.options, 0.0

        def start(**of_vllm: Any) -> Any:  # noqa: ANN401  (vllm.LLM)
            nonlocal start_s
            llm, start_s = start_timed(of_vllm, request)
            return llm

        is_earlier = earlier_code(options, request.model.config)
        with is_earlier, replaced(vllm_causallms, "LLM", start):
            super().__init__(**arguments.for_host(request))
        self.running = RunningVLLM(self.model, options, request, start_s)
        # The host has no end of a model's life: at the latest, vLLM is stopped with this process.
        self._stop = finalize(self, self.running.close)

    def _observe(self, requests: Sequence[Instance]) -> VerifiedOverride:
        prompts = [self._prompt(one) for one in first_of_questions(requests, PROMPTS_TO_VERIFY)]
        is_scored = requests[0].request_type in SCORING
        sampling = SamplingParams(
            max_tokens=VERIFICATION_NEW_TOKENS,
            min_tokens=VERIFICATION_NEW_TOKENS,
            ignore_eos=True,
            temperature=0.0,
            # Tokens that are read from a cache go through no router, and would not be seen.
            skip_reading_prefix_cache=True,
            # What vLLM compiles for scores is compiled now, and not in the time of a task.
            prompt_logprobs=1 if is_scored else None,
        )

        def run() -> None:
            for prompt in prompts:
                self.model.generate([prompt], sampling, use_tqdm=False)

        return self.running.observe(run)

    def _prompt(self, request: Instance) -> Any:  # noqa: ANN401  (what vLLM takes)
        """Return the text of a request, with the continuation that is to be scored."""
        text = "".join(one for one in request.args[:2] if isinstance(one, str))
        ids = self.tok_encode(text) or [self.prefix_token_id]
        return TokensPrompt(prompt_token_ids=ids[-(self.max_length - VERIFICATION_NEW_TOKENS) :])

    def _meter(self) -> WorkersHardware:
        return self.hardware

    @contextmanager
    def _timing(self, call: TaskCall) -> Iterator[None]:
        self._calls = calls = TimedCalls(call, self.running)
        try:
            with engine_alive_or_fail():
                yield
                calls.finish()
        finally:
            self._calls = None
        self._of_tasks[call.task, calls.generates] = calls

    def _model_generate(
        self,
        requests: list[list[int]],
        generate: bool = False,  # noqa: FBT001, FBT002  (the host's signature)
        sampling_params: Any = None,  # noqa: ANN401  (vLLM's, one or a list)
    ) -> list[Any]:
        if self._calls is not None:
            self._calls.begin()
        outputs: list[Any] = super()._model_generate(requests, generate, sampling_params)
        if self._calls is not None:
            limits = [one.max_tokens for one in sampling_params] if generate else None
            self._calls.add(outputs, limits)
        return outputs

    def _complete(self, record: RunRecord) -> RunRecord:
        """Add the parts of the requests' times, and what was decided for the task.

        Where requests shared images or beginnings of prompts, their times are not those of one.
        """
        of_task = [self._of_tasks.get((record.task, generates)) for generates in (True, False)]
        found = [calls for calls in of_task if calls is not None]
        times = [] if record.speed.is_shared else [one for calls in found for one in calls.times]
        provenance = {
            **record.provenance,
            "request_times": request_phases(times),
            "n_not_finite": sum(calls.n_not_finite for calls in found),
        }
        if any(calls.is_greedy_by_default for calls in found):
            provenance["temperature_by_default"] = 0.0
        return replace(record, provenance=provenance)

    def _engine_provenance(self) -> dict[str, Any]:
        is_auto = self.batch_size == "auto"
        return {
            **self.running.provenance(),
            "hardware": self.hardware_facts,
            "seed": self.running.config.model_config.seed,
            "batch_size": self.running.max_num_seqs if is_auto else self.batch_size,
            "batch_size_requested": self.batch_size,
        }


class MoEVLLMVLM(MoEVLLM, VLLM_VLM):
    """Text and images by vLLM; ``--model_args`` are those of ``moe_vllm``, and of ``vllm-vlm``."""

    host_class: ClassVar[type] = VLLM_VLM

    def _prompt(self, request: Instance) -> Any:  # noqa: ANN401  (what vLLM takes)
        if len(request.args) < 3:  # noqa: PLR2004  (the host's sign that there are no images)
            return super()._prompt(request)
        sizes = self.image_width, self.image_height, self.image_max_side
        images = [resize_image(image, *sizes) for image in request.args[2]["visual"]]
        (prompt,) = self.tok_batch_multimodal_encode([request.args[0]], [images])
        return prompt

    def _multimodal_model_generate(
        self,
        requests: Any = None,  # noqa: ANN401  (the host's signature)
        generate: bool = False,  # noqa: FBT001, FBT002  (the host's signature)
        max_tokens: int | None = None,
        stop: list[str] | None = None,
        **sampling: Any,  # noqa: ANN401  (arguments of vLLM's SamplingParams)
    ) -> list[Any]:
        if self._calls is not None:
            self._calls.begin()
        outputs: list[Any] = super()._multimodal_model_generate(
            requests, generate, max_tokens, stop, **sampling
        )
        if self._calls is not None:
            self._calls.add(outputs, [max_tokens or 0] * len(outputs) if generate else None)
        return outputs
