"""Rewrites the selected experts and weights in a pre-hook of the experts module.

A router has one k for all tokens of a forward pass. Where image and text tokens, or a prompt and
its answer, are to use different k, where experts are dropped by their weights, or where weights are
renormalised in another way, the arguments of the call ``experts(hidden, index, weights)`` are
rewritten, a call that most families make. A dropped expert's index becomes ``num_experts`` and its
weight 0; transformers skips that index, so it costs no computation.

The choice at the k of one kind of token is the router's own: the layer's routing is run once for
each k that is needed and stopped at the call of the experts, so selection biases, groups and
renormalisation are those of that k.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import OverrideError, UnsupportedFamilyError
from moe_eval_plugin.models.releases.names import SKIPS_INDEX_FLAG
from moe_eval_plugin.override.policies.layer_policy import layer_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
    from moe_eval_plugin.override.forward_pass import ForwardPass, KByKind
    from moe_eval_plugin.override.policies.layer_policy import LayerPlace

TOKENS_BY_EXPERTS = 2
NUM_EXPERTS = "num_experts"
DECODER_LAYER = re.compile(r"(^|\.)layers\.\d+$")
# Their loop drops a dimension where each token has one choice, and raises ValueError.
FAIL_AT_ONE_CHOICE = ("LongcatFlashExperts",)
# The eager loops of these fail at an index outside the experts.
NO_SKIPPING_IN_EAGER = ("GptOssExperts", "OpenAIPrivacyFilterExperts")


@dataclass(frozen=True)
class LayerPlan:
    """How the choice of experts is rewritten in one MoE layer."""

    experts_path: str
    """Path of the experts module whose call is rewritten."""
    place: LayerPlace
    """Which layer it is, for policies with parameters by layer."""
    set_k: Callable[[int], None]
    """Set the k of the layer's router."""
    k_by_kind: Callable[[], KByKind]
    """Return the k in the current pass."""
    mass_k: int | None
    """The k at which the chosen weights have the sum that the kept ones shall have, or ``None``."""
    renormalises: bool
    """Whether the router divides the weights of the chosen experts by their sum."""
    splits_answers: bool
    """Whether answers may use another k than their prompts in one pass."""
    needs_trial_routing: bool
    """Whether the routing must also be run at another k than the router holds."""


@contextmanager
def change_choices(
    model: nn.Module, plans: Sequence[LayerPlan], rule: RoutingRule, forward_pass: ForwardPass
) -> Iterator[None]:
    """Rewrite the choice of experts in some layers while the block runs.

    Raises ``UnsupportedFamilyError``, with the model unchanged, where a layer's experts cannot
    skip a dropped expert, or where its routing cannot be run alone.
    """
    modules = dict(model.named_modules())
    for plan in plans:
        _check(plan, modules[plan.experts_path])
    with ExitStack() as stack:
        for plan in plans:
            block = modules[plan.experts_path.rpartition(".")[0]]
            rewriter = _ChoiceRewriter(plan, rule, modules[plan.experts_path], forward_pass)
            stack.enter_context(rewriter.rewriting(block))
        yield


@contextmanager
def accept_single_choices(model: nn.Module) -> Iterator[None]:
    """Make experts whose code fails at one choice per token accept it while the block runs.

    They get a second choice of the weight 0, which hooks on the experts do not see: an expert that
    returns the token as it is, or where there is none the chosen one again.
    """
    experts = [m for m in model.modules() if type(m).__name__ in FAIL_AT_ONE_CHOICE]
    with ExitStack() as stack:
        for one in experts:
            if "forward" in vars(one):
                stack.callback(setattr, one, "forward", one.forward)
            else:
                stack.callback(delattr, one, "forward")
            one.forward = _with_second_choice(one, one.forward)
        yield


def _with_second_choice(experts: Any, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:  # noqa: ANN401
    def widened(hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        if top_k_index.shape[-1] == 1:
            torch = _torch()
            identity = torch.full_like(top_k_index, experts.num_routed_experts)
            second = identity if experts.zero_expert_num else top_k_index
            top_k_index = torch.cat([top_k_index, second], dim=-1)
            top_k_weights = torch.cat([top_k_weights, torch.zeros_like(top_k_weights)], dim=-1)
        return forward(hidden_states, top_k_index, top_k_weights)

    return widened


class _RoutingDone(Exception):  # noqa: N818  (no error: it ends a trial run of the routing)
    """Carries indices and weights out of a layer's forward, before its experts compute."""


class _ChoiceRewriter:
    """Rewriter of one layer's choice; every tensor here is (tokens, k) or (tokens,)."""

    def __init__(
        self, plan: LayerPlan, rule: RoutingRule, experts: nn.Module, forward_pass: ForwardPass
    ) -> None:
        self.plan = plan
        self.rule = rule
        self.policy = layer_policy(rule, plan.place, forward_pass)
        self.experts = experts
        self.forward_pass = forward_pass
        self._choices: dict[int, tuple[Tensor, Tensor]] = {}
        self._is_trial = False

    @contextmanager
    def rewriting(self, block: nn.Module) -> Iterator[None]:
        """Install the hooks while the context runs.

        They run before all other hooks, so that observers see the rewritten choice. ``block`` is
        the module that holds router and experts.
        """
        skipped_index = getattr(self.experts, SKIPS_INDEX_FLAG)
        add_hook = self.experts.register_forward_pre_hook
        handles = [add_hook(self._before_experts, with_kwargs=True, prepend=True)]
        if self.plan.needs_trial_routing:
            handles.append(block.register_forward_pre_hook(self._before_block, with_kwargs=True))
        setattr(self.experts, SKIPS_INDEX_FLAG, True)
        try:
            yield
        finally:
            setattr(self.experts, SKIPS_INDEX_FLAG, skipped_index)
            for handle in handles:
                handle.remove()

    def _before_block(
        self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Run the routing at each k that is needed besides the one that the router holds."""
        ks = self.plan.k_by_kind()
        wanted = {*ks, *([self.plan.mass_k] if self.plan.mass_k else [])} - {max(ks)}
        self._is_trial = True
        try:
            self._choices = {k: self._route(block, k, args, kwargs) for k in wanted}
        finally:
            self._is_trial = False
            self.plan.set_k(max(ks))

    def _route(
        self, block: nn.Module, k: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        self.plan.set_k(k)
        try:
            block.forward(*args, **kwargs)
        except _RoutingDone as trial:
            index, weights = trial.args
            return index, weights
        message = f"{self.plan.experts_path} was not reached by the routing of its layer."
        raise OverrideError(message)

    def _before_experts(
        self, _experts: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        index_key, weights_key = _find_choice(args, kwargs, self.plan.experts_path)
        given = _by_key(args, kwargs)
        index, weights = given[index_key], given[weights_key]
        if self._is_trial:
            raise _RoutingDone(index, weights)
        self._choices[max(self.plan.k_by_kind())] = (index, weights)
        index, weights = self._by_kind(index, weights)
        given[index_key], given[weights_key] = self._by_weight(index, weights)
        self._choices = {}
        return tuple(given[i] for i in range(len(args))), {name: given[name] for name in kwargs}

    def _by_kind(self, index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the choice, with that of a smaller k for tokens of that kind."""
        ks, pad = self.plan.k_by_kind(), _torch().nn.functional.pad
        if len(set(ks)) == 1:
            return index, weights
        k_of_token = self._k_of_tokens(ks, index)
        for k in set(ks) - {max(ks)}:
            (fewer, of_fewer), rows = self._choices[k], (k_of_token == k)[:, None]
            missing = (0, index.shape[1] - fewer.shape[1])
            index = _torch().where(rows, pad(fewer, missing, value=self._no_expert_index), index)
            weights = _torch().where(rows, pad(of_fewer, missing), weights)
        return index, weights

    def _k_of_tokens(self, ks: KByKind, index: Tensor) -> Tensor:
        k_of_token, now = index.new_full(index.shape[:1], ks.text), self.forward_pass
        if ks.image != ks.text:
            k_of_token.masked_fill_(now.is_image(index), ks.image)
        if ks.answer != ks.text:
            is_answer = now.is_of_answer(index, self.plan.place.modality)
            k_of_token.masked_fill_(is_answer, ks.answer)
        return k_of_token

    def _by_weight(self, index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Drop experts by the policy, then renormalise the weights of those that are left."""
        sum_before = weights.sum(-1, keepdim=True)
        if self.policy is not None:
            keep = self.policy.keep(weights)
            index = index.masked_fill(~keep, self._no_expert_index)
            weights = weights.masked_fill(~keep, 0.0)
        wanted_sum = self._wanted_sum(sum_before)
        if wanted_sum is None:
            return index, weights
        tiny = _torch().finfo(weights.dtype).tiny
        return index, weights * (wanted_sum / weights.sum(-1, keepdim=True).clamp_min(tiny))

    def _wanted_sum(self, sum_before: Tensor) -> Tensor | None:
        """Return the sum that the kept weights shall have, (tokens, 1); ``None``: as it is."""
        if self.rule.renorm == "unit":
            return sum_before.new_ones(sum_before.shape)
        if self.rule.renorm == "keep-mass":
            return self._choices[self.plan.mass_k or 0][1].sum(-1, keepdim=True)
        return sum_before if self.policy is not None and self.plan.renormalises else None

    @property
    def _no_expert_index(self) -> int:
        """Index that transformers skips (``num_experts``)."""
        return int(getattr(self.experts, NUM_EXPERTS))


def _check(plan: LayerPlan, experts: nn.Module) -> None:
    """Raise ``UnsupportedFamilyError`` if the choice of this layer cannot be rewritten."""
    name = type(experts).__name__
    implementation = getattr(getattr(experts, "config", None), "_experts_implementation", None)
    reason = None
    if not hasattr(experts, SKIPS_INDEX_FLAG):
        reason = (
            f"{name} cannot skip a dropped expert, which the experts of transformers can since 5.18"
        )
    elif implementation == "eager" and name in NO_SKIPPING_IN_EAGER:
        reason = (
            f"{name} cannot skip a dropped expert in the implementation eager; use "
            "experts_implementation=grouped_mm"
        )
    elif plan.needs_trial_routing and DECODER_LAYER.search(plan.experts_path.rpartition(".")[0]):
        reason = "its router is part of the decoder layer itself and cannot be run alone"
    if reason is not None:
        what, others = "text and image tokens", "number, layer or phase"
        if plan.splits_answers:
            what, others = "a prompt and its answer in one pass", "number or layer"
        message = (
            f"This model cannot use different k for {what}, experts_policy or "
            f"renorm: {plan.experts_path}: {reason}. Use an experts_k by {others}, "
            "without experts_policy and renorm."
        )
        raise UnsupportedFamilyError(message)


def _find_choice(
    args: tuple[Any, ...], kwargs: dict[str, Any], path: str
) -> tuple[int | str, int | str]:
    """Return the keys of indices and weights among the arguments; both are (tokens, k)."""
    tables = {
        key: value
        for key, value in _by_key(args, kwargs).items()
        if isinstance(value, _torch().Tensor) and value.dim() == TOKENS_BY_EXPERTS
    }
    index_key = next((key for key, v in tables.items() if not v.is_floating_point()), None)
    if index_key is not None:
        shape = tables[index_key].shape
        fitting = [key for key, v in tables.items() if v.is_floating_point() and v.shape == shape]
        if fitting:
            # The hidden states come first and have the same shape if k is the hidden size.
            return index_key, fitting[-1]
    message = f"{path} was called without indices and weights of the same shape."
    raise OverrideError(message)


def _by_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int | str, Any]:
    """Return the arguments of a call by position or by name."""
    given: dict[int | str, Any] = dict(enumerate(args))
    given.update(kwargs)
    return given


def _torch() -> Any:  # noqa: ANN401  (the module, which is imported late to start fast)
    import torch

    return torch
