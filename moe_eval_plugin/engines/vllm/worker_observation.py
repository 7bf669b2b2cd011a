"""Report the k in each MoE layer of a vLLM worker, and observe the experts that tokens use.

Observation is a pass of its own, with one request at a time: then each row of a forward pass is
known, prompt or answer, text or image. Compiled routers and CUDA graphs would hide the choice, so
this pass disables them, in the same engine with the same layers.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.set_k import KEY, k_of_layer
from moe_eval_plugin.experts.observation import InputTokenCount, Observation
from moe_eval_plugin.experts.tokens import IMAGE, OBSERVED_MODALITIES, PADDING, TEXT
from moe_eval_plugin.models.moe_layers import STANDARD_CALL, MoELayer
from moe_eval_plugin.override.layer_counter import LayerCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from moe_eval_plugin.experts.tokens import Phase

K_ATTRIBUTES = ("top_k", "topk", "_top_k", "experts_per_token")
EXPERT_MODALITIES = ("image", "video")


class ExpertWatch:
    """The methods that are mixed into vLLM's worker; all names begin with ``moe_eval_``."""

    model_runner: Any

    def moe_eval_layers(self) -> list[dict[str, Any]]:
        """Describe each MoE layer of this worker, as plain data.

        ``k`` maps each attribute that stores k, in the router, the layer and its kernels, to its
        value. ``hides_choice`` is true where one kernel routes and computes, so that no choice of
        experts can be seen.
        """
        return [
            {
                "path": path,
                "kernel": _kernel_name(layer),
                "k": {f"{type(o).__name__}.{name}": k for o, name, k in _k_attributes(layer)},
                "hides_choice": bool(layer.routed_experts.quant_method.is_monolithic),
            }
            for path, layer in find_moe_layers(self.model_runner.get_model())
        ]

    def moe_eval_config(self) -> dict[str, Any]:
        """Return our key in the configuration, and whether the compile hash depends on it."""
        model_config = self.model_runner.model_config
        bare = copy(model_config)
        bare.hf_config = copy(model_config.hf_config)
        table = vars(bare.hf_config).pop(KEY, None)
        is_hashed = bare.compute_hash() != model_config.compute_hash()
        return {"table": table, "is_in_compile_hash": is_hashed}

    def moe_eval_set_k(self, table: dict[str, int]) -> None:
        """Set k in each layer, its kernels and the configuration of a running model."""
        setattr(self.model_runner.model_config.hf_config, KEY, table)
        for path, layer in find_moe_layers(self.model_runner.get_model()):
            k = k_of_layer(table, path)
            for owner, attribute, _ in _k_attributes(layer):
                if k is not None:
                    setattr(owner, attribute, k)

    def moe_eval_start(self) -> None:
        """Start observing the choice of experts."""
        self.moe_eval_watch = _Watch(self.model_runner)

    def moe_eval_stop(self) -> dict[str, Any]:
        """Stop observing; return the state of an ``Observation``."""
        watch = self.moe_eval_watch
        watch.close()
        del self.moe_eval_watch
        return watch.observation().to_state()


@dataclass(frozen=True)
class _Request:
    """The length of a request's prompt, and the kind of each of its tokens."""

    n_prompt: int
    token_kinds: Tensor


@dataclass(frozen=True)
class _Step:
    """One forward pass: its phase, and the kind (index of ``OBSERVED_MODALITIES``) of each row."""

    phase: Phase
    token_kinds: Tensor


class _Watch:
    """Observes all layers of one worker until it is closed."""

    def __init__(self, runner: Any) -> None:  # noqa: ANN401  (vLLM has several classes of them)
        self._requests: dict[str, _Request] = {}
        self._input_tokens: list[InputTokenCount] = []
        self._step: _Step | None = None
        self._undo = ExitStack()
        self._counters = [
            self._watch(path, layer) for path, layer in find_moe_layers(runner.get_model())
        ]
        self._set(runner, "execute_model", self._in_step(runner.execute_model))
        for owner, name, value in _detours(runner):
            self._set(owner, name, value)

    def close(self) -> None:
        """Restore everything that was changed."""
        self._undo.close()

    def observation(self) -> Observation:
        """Return what was observed until now."""
        layers = {counter.layer.path: counter.observation() for counter in self._counters}
        return Observation(layers, tuple(self._input_tokens))

    def _watch(self, path: str, layer: Any) -> LayerCounter:  # noqa: ANN401
        num_experts = layer.moe_config.num_logical_experts
        counter = LayerCounter(MoELayer(path, STANDARD_CALL, layer, {}, num_experts, 0))

        def see(chosen: Tensor) -> None:
            if self._step is not None:
                token_kinds = _token_kinds_of_rows(self._step.token_kinds, chosen)
                counter.add(chosen, token_kinds.to(chosen.device), self._step.phase)

        router = layer.router
        # vLLM itself uses this hook, where it returns the routed experts with each answer.
        self._undo.callback(router.set_capture_fn, getattr(router, "capture_fn", None))
        router.set_capture_fn(see)
        return counter

    def _set(self, owner: Any, name: str, value: Any) -> None:  # noqa: ANN401
        own = vars(owner)
        if name in own:
            self._undo.callback(setattr, owner, name, own[name])
        else:
            self._undo.callback(delattr, owner, name)
        setattr(owner, name, value)

    def _in_step(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def execute_model(scheduled: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            self._step = self._read(scheduled)
            try:
                return execute(scheduled, *args, **kwargs)
            finally:
                self._step = None

        return execute_model

    def _read(self, scheduled: Any) -> _Step | None:  # noqa: ANN401  (vLLM's SchedulerOutput)
        """Return phase and kinds of a forward pass; ``None`` for one without tokens."""
        import torch

        for new in scheduled.scheduled_new_reqs:
            self._requests[new.req_id] = _Request(len(new.prompt_token_ids), _token_kinds(new))
        if not scheduled.num_scheduled_tokens:
            return None
        (name, n_tokens), *others = scheduled.num_scheduled_tokens.items()
        if others:
            message = "k is observed with one request at a time, and vLLM runs several"
            raise RuntimeError(message)
        request, begin = self._requests[name], dict(_progress(scheduled))[name]
        phase: Phase = "prefill" if begin < request.n_prompt else "decode"
        token_kinds = torch.full((n_tokens,), TEXT)
        known = request.token_kinds[begin : begin + n_tokens]
        token_kinds[: len(known)] = known
        for kind, n in enumerate(
            torch.bincount(token_kinds, minlength=len(OBSERVED_MODALITIES)).tolist()
        ):
            if n:
                self._input_tokens.append(InputTokenCount(phase, OBSERVED_MODALITIES[kind], n))
        return _Step(phase, token_kinds)


def find_moe_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield each MoE layer of a vLLM model, whatever its class, with its path."""
    for path, module in model.named_modules():
        if hasattr(module, "router") and hasattr(module, "routed_experts"):
            yield path, module


def _k_attributes(layer: Any) -> Iterator[tuple[Any, str, int]]:  # noqa: ANN401
    """Yield each attribute of a layer and its kernels that stores k: (owner, name, k)."""
    method = layer.routed_experts.quant_method
    kernel = getattr(method, "moe_kernel", None)
    owners = (
        layer.router,
        layer.moe_config,
        layer.routed_experts,
        getattr(method, "moe", None),
        getattr(kernel, "fused_experts", None),
        getattr(kernel, "prepare_finalize", None),
    )
    for owner in {id(owner): owner for owner in owners}.values():
        for attribute in K_ATTRIBUTES:
            value = getattr(owner, attribute, None)
            if isinstance(value, int):
                yield owner, attribute, value


def _kernel_name(layer: Any) -> str:  # noqa: ANN401
    method = layer.routed_experts.quant_method
    experts = getattr(getattr(method, "moe_kernel", None), "fused_experts", None)
    return type(method if experts is None else experts).__name__


def _detours(runner: Any) -> Iterator[tuple[Any, str, Any]]:  # noqa: ANN401
    """Yield what to set (owner, attribute, value) so that Python sees each choice of experts.

    On GPUs an MoE layer is one opaque operation of the compiled graph, and stays seen in it; on
    CPUs its router is compiled too. CUDA graphs run no Python, so none may be replayed.
    """
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        for module in runner.get_model().modules():
            if vars(module).get("do_not_compile") is False:
                yield module, "do_not_compile", True
    dispatcher = getattr(runner, "cudagraph_dispatcher", None)
    if dispatcher is not None:
        yield dispatcher, "keys_initialized", False
    # The second generation of vLLM's model runner chooses in a function of its module.
    home = sys.modules[type(runner).__module__]
    choose = getattr(home, "dispatch_cg_and_sync_dp", None)
    if choose is not None:
        yield (
            home,
            "dispatch_cg_and_sync_dp",
            lambda *args, **kwargs: choose(*args, **{**kwargs, "need_eager": True}),
        )


def _progress(scheduled: Any) -> Iterator[tuple[str, int]]:  # noqa: ANN401
    """Yield for each request how many of its tokens were computed before this pass."""
    for new in scheduled.scheduled_new_reqs:
        yield new.req_id, new.num_computed_tokens
    cached = scheduled.scheduled_cached_reqs
    yield from zip(cached.req_ids, cached.num_computed_tokens, strict=True)


def _token_kinds(new: Any) -> Tensor:  # noqa: ANN401  (vLLM's NewRequestData)
    """Return the kind of each token of a prompt; tokens that only delimit an image are text."""
    import torch

    token_kinds = torch.full((len(new.prompt_token_ids),), TEXT)
    for feature in new.mm_features:
        if feature.modality in EXPERT_MODALITIES:
            span = feature.mm_position
            part = token_kinds[span.offset : span.offset + span.length]
            part[slice(None) if span.is_embed is None else span.is_embed] = IMAGE
    return token_kinds


def _token_kinds_of_rows(token_kinds: Tensor, chosen: Tensor) -> Tensor:
    """Match the kinds of a pass with the rows that a router sees: vLLM may pad them."""
    import torch

    n_extra = chosen.shape[0] - len(token_kinds)
    if n_extra < 0:
        # The layer receives an unknown part of the tokens.
        return torch.full((chosen.shape[0],), TEXT)
    return torch.cat([token_kinds, torch.full((n_extra,), PADDING)])
