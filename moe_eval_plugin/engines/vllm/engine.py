"""Run a model with vLLM: start, verify, generate, score."""

from __future__ import annotations

import itertools
import logging
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.conversation import prepare_conversation
from moe_eval_plugin.engines.generation import CheckpointSettings, sort_checkpoint_settings
from moe_eval_plugin.engines.refusals import reason_of
from moe_eval_plugin.engines.request import PROMPTS_TO_VERIFY, VERIFICATION_NEW_TOKENS
from moe_eval_plugin.engines.vllm.messages import (
    Answer,
    Prompt,
    append_continuation,
    load_template,
    name_of,
    placeholders_of,
    read_answer,
    rendered_prompt,
)
from moe_eval_plugin.engines.vllm.options import (
    check_vllm_request,
    engine_argument_names,
    engine_arguments,
    k_by_layer,
)
from moe_eval_plugin.engines.vllm.process import (
    earlier_code,
    engine_alive_or_fail,
    start,
    wake_on_death,
)
from moe_eval_plugin.engines.vllm.request_times import RequestTimes
from moe_eval_plugin.engines.vllm.set_k import EVERY_LAYER
from moe_eval_plugin.engines.vllm.verification import Workers
from moe_eval_plugin.errors import InvalidArgumentError, NotFiniteError, OverrideError
from moe_eval_plugin.measure.timing import read_clock
from moe_eval_plugin.models import checkpoint
from moe_eval_plugin.override.finite import describe_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.engines.vllm.options import VLLMOptions
    from moe_eval_plugin.experts.verification import VerifiedOverride

logger = logging.getLogger(__name__)

SHUTDOWN_S = 30.0
# Requests that wait inside vLLM for each that runs, so that its scheduler never waits for us.
WAITING_PER_RUNNING = 2


class VLLMEngine:
    """A running vLLM at the requested k.

    ``request`` is the check of ``options`` if it was made before; otherwise it is made here, before
    vLLM starts; the chat template must have a use for a ``system_prompt``. Raises what
    ``check_vllm_request`` and ``ChatTemplate.check`` raise, ``InsufficientMemoryError`` or
    ``EngineFailedError`` if vLLM does not start, and ``OverrideError`` if a layer has another k.
    """

    def __init__(
        self,
        options: VLLMOptions,
        request: ExpertRequest | None = None,
        *,
        system_prompt: str | None = None,
    ) -> None:
        engine_argument_names()
        self.options = options
        self.request = request or check_vllm_request(options)
        for warning in self.request.warnings:
            logger.warning("%s: %s", self.request.description.model_type, warning)
        source = checkpoint.resolve(options.pretrained)
        with earlier_code(options, self.request.model.config):
            self.template = load_template(options, source)
            self.template.check(system_prompt)
            if self.request.resolved is not None:
                # Counted for `check_layers`, in seconds, while vLLM does not hold the GPUs.
                _ = self.request.model.moe_layers
            begin = read_clock()
            self.llm = start(engine_arguments(options, self.request, source))
            self.start_s = read_clock() - begin
        self._closed = wake_on_death(self.llm.llm_engine.engine_core)
        self.config = self.llm.llm_engine.vllm_config
        self.workers = Workers(self.llm.collective_rpc, self.request, options.verify)
        self.workers.check_layers()
        self.llm.collective_rpc("moe_eval_watch_logits")
        self.generation.warn()
        self._placeholders = placeholders_of(self.llm.model_config)
        self._names = (str(number) for number in itertools.count())

    @property
    def max_num_seqs(self) -> int:
        """The requests that vLLM runs at once, at most."""
        return int(self.config.scheduler_config.max_num_seqs)

    @property
    def is_shared(self) -> bool:
        """Whether vLLM keeps images or beginnings of prompts for later questions."""
        images = self.config.model_config.multimodal_config
        keeps_images = images is not None and images.mm_processor_cache_gb > 0
        return bool(self.config.cache_config.enable_prefix_caching or keeps_images)

    @cached_property
    def generation(self) -> CheckpointSettings:
        """The model's own generation settings, sorted; vLLM reads a file for them."""
        config = self.llm.model_config
        found = {} if config.generation_config == "vllm" else config.try_get_generation_config()
        return sort_checkpoint_settings({**found, **config.override_generation_config})

    def close(self) -> None:
        """Stop vLLM's processes."""
        self._closed.set()
        self.llm.llm_engine.engine_core.shutdown(timeout=SHUTDOWN_S)

    def set_k(self, experts_k: object) -> None:
        """Set another k in the running engine, for a series of measurements.

        Compiled code and CUDA graphs would keep the k before: raises ``InvalidArgumentError``
        unless ``enforce_eager`` is set. The new k must be verified as the first one was.
        """
        if not self.config.model_config.enforce_eager:
            message = (
                "k cannot be changed in a running vLLM that compiles, because compiled code and "
                "CUDA graphs keep the old one. Start it with enforce_eager=True, or start it anew."
            )
            raise InvalidArgumentError(message)
        options = replace(self.options, experts_k=experts_k)
        self.request = check_vllm_request(options, self.request.model)
        self.options = options
        baseline = self.request.description.num_experts_per_tok
        table = k_by_layer(self.request) or {EVERY_LAYER: baseline}
        self.llm.collective_rpc("moe_eval_set_k", args=(table,))
        self._forget()
        self.workers = Workers(self.llm.collective_rpc, self.request, self.options.verify)
        self.workers.check_layers()

    def verify(
        self,
        builds: Iterable[Callable[[], Conversation]],
        refuse: Callable[[int, str], object] = lambda _position, _reason: None,
    ) -> VerifiedOverride:
        """Run a few real prompts, prefill and decode, and compare the k that tokens used.

        ``builds`` make the conversations; the first ones that can be asked are taken, and
        ``refuse`` gets the position of each that cannot, and why. Raises
        ``OverrideNotEffectiveError``. A dense model has nothing to observe.
        """
        arguments = {
            "max_tokens": VERIFICATION_NEW_TOKENS,
            "min_tokens": VERIFICATION_NEW_TOKENS,
            "ignore_eos": True,
            "temperature": 0.0,
            # Tokens that are read from a cache go through no router, and would not be seen.
            "skip_reading_prefix_cache": True,
        }
        prompts = (Prompt(build, arguments) for build in builds)
        with engine_alive_or_fail():
            verified = self.workers.verify(lambda: self._run_in_turn(prompts, refuse))
            n_bad = len(self.not_finite())
        if n_bad:
            raise NotFiniteError(describe_fault(self.options.pretrained, n_bad))
        return verified

    def not_finite(self) -> set[str]:
        """Return the requests since the last call that were computed from NaN or infinity."""
        found = self.llm.collective_rpc("moe_eval_not_finite")
        return {name.partition("-")[0] for of_worker in found for name in of_worker}

    def run(self, prompts: Iterable[Prompt], at_once: int | None) -> Generator[tuple[int, Answer]]:
        """Yield (position of the prompt, answer) in the order in which vLLM finishes them.

        ``at_once`` limits the prompts that vLLM has at a time; ``None`` leaves that to its
        scheduler. Raises ``EngineFailedError`` if vLLM dies; earlier answers are valid. Requests
        that are open when the iterator is closed are ended.
        """
        most = at_once or self.max_num_seqs * (1 + WAITING_PER_RUNNING)
        running = _Running()
        try:
            for position, prompt in enumerate(prompts):
                refused = self._add(position, prompt, running)
                if refused is not None:
                    yield position, refused
                while len(running.positions) >= most:
                    yield from self._step(running)
            while running.positions:
                yield from self._step(running)
        except GeneratorExit:
            self.llm.llm_engine.abort_request(list(running.positions))
            raise

    def run_tokens(
        self, prompts: Sequence[Sequence[int]], sampling: Mapping[str, Any]
    ) -> tuple[float, list[Any]]:
        """Submit prompts of token ids, all at once, and wait until vLLM has finished them.

        Returns the time at which the first was submitted, by the clock of vLLM's engine
        (``time.monotonic``), and vLLM's ``RequestOutput`` of each in their order. Raises
        ``EngineFailedError`` if vLLM dies.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(**sampling, output_kind=RequestOutputKind.FINAL_ONLY)
        engine = self.llm.llm_engine
        done: dict[str, Any] = {}
        rendered = engine.renderer.render_cmpl([{"prompt_token_ids": [*ids]} for ids in prompts])
        names = [next(self._names) for _ in prompts]
        with engine_alive_or_fail():
            begin = time.monotonic()
            for name, prompt in zip(names, rendered, strict=True):
                engine.add_request(name, prompt, params)
            while len(done) < len(names):
                done |= {name_of(output): output for output in engine.step() if output.finished}
        return begin, [done[name] for name in names]

    def _forget(self) -> None:
        """Empty the caches of what was computed with the k before: text, and encoded images.

        An image tower may have experts too. Images that were only preprocessed stay.
        """
        if not self.llm.reset_prefix_cache():
            message = (
                "vLLM did not empty its cache of prompts, so answers of another k could be used. "
                "k can be changed only while no request is open."
            )
            raise OverrideError(message)
        self.llm.llm_engine.reset_encoder_cache()

    def _run_in_turn(self, prompts: Iterable[Prompt], refuse: Callable[[int, str], object]) -> None:
        n_asked = 0
        for position, answer in self.run(prompts, at_once=1):
            if answer.error is not None:
                refuse(position, answer.error)
            n_asked += answer.error is None
            if n_asked == PROMPTS_TO_VERIFY:
                return

    def _add(self, position: int, prompt: Prompt, running: _Running) -> Answer | None:
        """Submit a prompt; return an answer with the error if it is refused."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        arguments = dict(prompt.sampling)
        if prompt.continuation is not None:
            arguments = {"max_tokens": 1, "prompt_logprobs": 1, "temperature": 0.0}
        arguments["skip_special_tokens"] = not self.template.special_tags
        params = SamplingParams(**arguments, output_kind=RequestOutputKind.FINAL_ONLY)
        name = next(self._names)
        try:
            conversation = prepare_conversation(prompt.build(), self._placeholders)
            rendered = rendered_prompt(self.llm, self.template, conversation)
            target = append_continuation(self.llm, rendered, prompt.continuation)
            with engine_alive_or_fail():
                self.llm.llm_engine.add_request(name, rendered, params)
        except Exception as error:
            if (reason := reason_of(error)) is None:
                raise
            return Answer("", RequestTimes(0, 0), error=reason)
        running.positions[name] = position
        if target is not None:
            running.targets[name] = target
        return None

    def _step(self, running: _Running) -> Iterator[tuple[int, Answer]]:
        with engine_alive_or_fail():
            outputs = self.llm.llm_engine.step()
        for output in outputs:
            if output.finished:
                name = name_of(output)
                target = running.targets.pop(name, None)
                yield running.positions.pop(name), read_answer(output, target)


@dataclass(frozen=True)
class _Running:
    """The requests that vLLM has: the position of each, and the tokens to score."""

    positions: dict[str, int] = field(default_factory=dict)
    targets: dict[str, list[int]] = field(default_factory=dict)
