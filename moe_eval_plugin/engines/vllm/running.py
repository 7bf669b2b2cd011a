"""A vLLM that runs at the requested k, whoever started it: its k, its state, its description."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.options import check_vllm_request, k_by_layer
from moe_eval_plugin.engines.vllm.process import engine_alive_or_fail, start, wake_on_death
from moe_eval_plugin.engines.vllm.set_k import EVERY_LAYER
from moe_eval_plugin.engines.vllm.verification import Workers
from moe_eval_plugin.errors import InvalidArgumentError, NotFiniteError, OverrideError
from moe_eval_plugin.measure.timing import read_clock
from moe_eval_plugin.override.finite import describe_fault
from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.engines.vllm.options import VLLMOptions
    from moe_eval_plugin.experts.verification import VerifiedOverride

logger = logging.getLogger(__name__)

SHUTDOWN_S = 30.0


def start_timed(arguments: dict[str, Any], request: ExpertRequest) -> tuple[Any, float]:
    """Start a ``vllm.LLM``; return it and its time in seconds. Raises what ``start`` raises."""
    if request.resolved is not None:
        # Counted for `check_layers`, in seconds, while vLLM does not hold the GPUs.
        _ = request.model.moe_layers
    begin = read_clock()
    llm = start(arguments)
    return llm, read_clock() - begin


class RunningVLLM:
    """A ``vllm.LLM`` that was started with ``engine_arguments`` of these options.

    ``start_s`` is the time that it took to start, in seconds. Raises ``OverrideError`` if a layer
    has another k.
    """

    def __init__(
        self,
        llm: Any,  # noqa: ANN401  (vllm.LLM)
        options: VLLMOptions,
        request: ExpertRequest,
        start_s: float,
    ) -> None:
        for warning in request.warnings:
            logger.warning("%s: %s", request.description.model_type, warning)
        self.llm = llm
        self.options = options
        self.request = request
        self.start_s = start_s
        self._closed = wake_on_death(llm.llm_engine.engine_core)
        self.config = llm.llm_engine.vllm_config
        self.workers = Workers(llm.collective_rpc, request, options.verify)
        self.workers.check_layers()
        llm.collective_rpc("moe_eval_watch_logits")

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
                "CUDA graphs keep it. Start vLLM with enforce_eager=True, or start it again."
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

    def observe(self, run: Callable[[], None]) -> VerifiedOverride:
        """Run requests one at a time, and compare the k that their tokens used.

        ``run`` must read no token from a cache: such a token goes through no router. Raises
        ``OverrideNotEffectiveError``, ``NotFiniteError``, or ``EngineFailedError`` if vLLM dies.
        """
        with engine_alive_or_fail():
            verified = self.workers.verify(run)
            n_bad = len(self.not_finite())
        if n_bad:
            raise NotFiniteError(describe_fault(self.options.pretrained, n_bad))
        return verified

    def not_finite(self) -> set[str]:
        """Return the requests since the last call that were computed from NaN or infinity."""
        found = self.llm.collective_rpc("moe_eval_not_finite")
        return {name.partition("-")[0] for of_worker in found for name in of_worker}

    def provenance(self) -> dict[str, Any]:
        """Describe the engine as plain JSON data.

        vLLM's builds have distributions of several names, so its version is read from the module.
        """
        import vllm

        model, parallel, compilation = (
            self.config.model_config,
            self.config.parallel_config,
            self.config.compilation_config,
        )
        return {
            "backend": "vllm",
            "pretrained": self.options.pretrained,
            "revision": getattr(self.request.model.config, "_commit_hash", None)
            or self.options.revision,
            "model_class": model.architecture,
            "verification": self.options.verify,
            "kernels": self.workers.kernels,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": self.config.device_config.device_type,
            "enforce_eager": model.enforce_eager,
            "compilation_mode": compilation.mode.name,
            "cudagraph_mode": compilation.cudagraph_mode.name,
            "prefix_caching": self.config.cache_config.enable_prefix_caching,
            "engine_start_s": round(self.start_s, 3),
            "max_model_len": model.max_model_len,
            "max_num_seqs": self.max_num_seqs,
            "tensor_parallel_size": parallel.tensor_parallel_size,
            "pipeline_parallel_size": parallel.pipeline_parallel_size,
            "enable_expert_parallel": parallel.enable_expert_parallel,
            "versions": {**installed_versions(), "vllm": vllm.__version__},
        }

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
