"""Run a model with vLLM: start, verify, generate, score."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
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
)
from moe_eval_plugin.engines.vllm.process import earlier_code, engine_alive_or_fail
from moe_eval_plugin.engines.vllm.request_times import RequestTimes
from moe_eval_plugin.engines.vllm.running import RunningVLLM, start_timed
from moe_eval_plugin.models import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.engines.vllm.options import VLLMOptions
    from moe_eval_plugin.experts.verification import VerifiedOverride

# Requests that wait inside vLLM for each that runs, so that its scheduler never waits for us.
WAITING_PER_RUNNING = 2


class VLLMEngine(RunningVLLM):
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
        request = request or check_vllm_request(options)
        source = checkpoint.resolve(options.pretrained)
        with earlier_code(options, request.model.config):
            self.template = load_template(options, source)
            self.template.check(system_prompt)
            llm, start_s = start_timed(engine_arguments(options, request, source), request)
        super().__init__(llm, options, request, start_s)
        self.generation.warn()
        self._placeholders = placeholders_of(self.llm.model_config)
        self._names = (str(number) for number in itertools.count())

    @cached_property
    def generation(self) -> CheckpointSettings:
        """The model's own generation settings, sorted; vLLM reads a file for them."""
        config = self.llm.model_config
        found = {} if config.generation_config == "vllm" else config.try_get_generation_config()
        return sort_checkpoint_settings({**found, **config.override_generation_config})

    def provenance(self) -> dict[str, Any]:
        """Describe the engine, and how it makes prompts and answers, as plain JSON data."""
        return {
            **super().provenance(),
            "chat_template_kwargs": self.options.template_arguments or None,
            "checkpoint_generation": self.generation.to_dict(),
        }

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
        return self.observe(lambda: self._run_in_turn(prompts, refuse))

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
