"""Changes what a router chose on its way into the experts, for what no attribute can say.

A router has one k for all tokens of a forward pass. Where image and text tokens are to use
different k, where experts are dropped by their weights, or where weights are scaled in another
way, the choice is changed at the door of the experts: in the call ``experts(hidden, index,
weights)``, which most families make. An expert that is dropped gets the index ``num_experts`` and
the weight 0, transformers' own mark for "not here", so that it costs no computation.

The k of one modality is the router's own: the layer's routing is run once for each k that is
needed and stopped at the door, so selection biases, groups and renormalisation are those of that k.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import OverrideError, UnsupportedFamilyError
from moe_eval_plugin.experts.routing_rule import UNIFORM
from moe_eval_plugin.models.transformers_names import EXPERTS_MARK
from moe_eval_plugin.override.policies import find_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from moe_eval_plugin.experts.routing_rule import RoutingRule
    from moe_eval_plugin.override.forward_pass import ForwardPass

TOKENS_BY_EXPERTS = 2
NUM_EXPERTS = "num_experts"
DECODER_LAYER = re.compile(r"(^|\.)layers\.\d+$")
# The loops of these over experts fail at an index that stands for "none".
NO_MARK_IN_EAGER = ("GptOssExperts", "OpenAIPrivacyFilterExperts")


@dataclass(frozen=True)
class LayerPlan:
    """What is to happen at the door of one MoE layer.

    ``set_k`` sets the k of the layer's router; ``k_by_kind`` gives the k of its text and of its
    image tokens in the present pass, of which the router holds the larger. ``mass_k`` is the k
    whose sum of weights the kept experts shall have, or ``None``. ``renormalises`` tells whether
    the router divides the weights of the chosen experts by their sum. ``routes_apart`` says that
    the routing must be run for another k than the router holds.
    """

    experts_path: str
    set_k: Callable[[int], None]
    k_by_kind: Callable[[], tuple[int, int]]
    mass_k: int | None
    renormalises: bool
    routes_apart: bool


@contextmanager
def change_choices(
    model: nn.Module, plans: Sequence[LayerPlan], rule: RoutingRule, forward_pass: ForwardPass
) -> Iterator[None]:
    """Change what reaches the experts of some layers while the block runs.

    Raises ``UnsupportedFamilyError``, with the model unchanged, where a layer's experts cannot be
    told that an expert is dropped, or where its routing cannot be run alone.
    """
    modules = dict(model.named_modules())
    for plan in plans:
        _check(plan, modules[plan.experts_path])
    with ExitStack() as stack:
        for plan in plans:
            block = modules[plan.experts_path.rpartition(".")[0]]
            door = _ChoiceRewriter(plan, rule, modules[plan.experts_path], forward_pass)
            stack.enter_context(door.taken_over(block))
        yield


class _RoutingDone(Exception):  # noqa: N818  (no error: it ends a trial run of the routing)
    def __init__(self, index: Tensor, weights: Tensor) -> None:
        super().__init__()
        self.choice = (index, weights)


class _ChoiceRewriter:
    """The door of one layer's experts; every tensor here is (tokens, k) or (tokens,)."""

    def __init__(
        self, plan: LayerPlan, rule: RoutingRule, experts: nn.Module, forward_pass: ForwardPass
    ) -> None:
        self.plan = plan
        self.rule = rule
        self.policy = None if rule.policy == UNIFORM else find_policy(rule.policy)
        self.experts = experts
        self.forward_pass = forward_pass
        self._choices: dict[int, tuple[Tensor, Tensor]] = {}
        self._is_trial = False

    @contextmanager
    def taken_over(self, block: nn.Module) -> Iterator[None]:
        """Stand at the door while the block runs, ahead of other hooks: they see what is left."""
        was_parallel = getattr(self.experts, EXPERTS_MARK)
        add_hook = self.experts.register_forward_pre_hook
        handles = [add_hook(self._before_experts, with_kwargs=True, prepend=True)]
        if self.plan.routes_apart:
            handles.append(block.register_forward_pre_hook(self._before_block, with_kwargs=True))
        setattr(self.experts, EXPERTS_MARK, True)
        try:
            yield
        finally:
            setattr(self.experts, EXPERTS_MARK, was_parallel)
            for handle in handles:
                handle.remove()

    def _before_block(
        self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Run the routing for each k that is needed besides the one that the router holds."""
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
            return trial.choice
        message = f"{self.plan.experts_path} was not reached by the routing of its layer."
        raise OverrideError(message)

    def _before_experts(
        self, _experts: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        at_index, at_weights = _find_choice(args, kwargs, self.plan.experts_path)
        given = _by_place(args, kwargs)
        index, weights = given[at_index], given[at_weights]
        if self._is_trial:
            raise _RoutingDone(index, weights)
        self._choices[max(self.plan.k_by_kind())] = (index, weights)
        index, weights = self._by_modality(index, weights)
        given[at_index], given[at_weights] = self._by_weight(index, weights)
        self._choices = {}
        return tuple(given[i] for i in range(len(args))), {name: given[name] for name in kwargs}

    def _by_modality(self, index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Give the tokens of the modality with the smaller k the choice of that k."""
        text_k, image_k = self.plan.k_by_kind()
        if text_k == image_k:
            return index, weights
        is_image = self.forward_pass.is_image(index)
        fewer_is_image = image_k < text_k
        fewer_index, fewer_weights = self._choices[min(text_k, image_k)]
        rows = (is_image if fewer_is_image else ~is_image)[:, None]
        missing = (0, index.shape[1] - fewer_index.shape[1])
        pad = _torch().nn.functional.pad
        return (
            _torch().where(rows, pad(fewer_index, missing, value=self._nobody), index),
            _torch().where(rows, pad(fewer_weights, missing), weights),
        )

    def _by_weight(self, index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Drop experts as the policy says, then scale the weights of those that are left."""
        sum_before = weights.sum(-1, keepdim=True)
        if self.policy is not None:
            keep = self.policy.keep(weights.float(), self.rule.parameter or 0.0)
            keep.scatter_(-1, weights.argmax(-1, keepdim=True), value=True)
            index = index.masked_fill(~keep, self._nobody)
            weights = weights.masked_fill(~keep, 0.0)
        wanted = self._wanted_sum(sum_before)
        if wanted is None:
            return index, weights
        tiny = _torch().finfo(weights.dtype).tiny
        return index, weights * (wanted / weights.sum(-1, keepdim=True).clamp_min(tiny))

    def _wanted_sum(self, sum_before: Tensor) -> Tensor | None:
        """Give the sum that the kept weights shall have, (tokens, 1); ``None`` leaves it."""
        if self.rule.renorm == "unit":
            return sum_before.new_ones(sum_before.shape)
        if self.rule.renorm == "keep-mass":
            return self._choices[self.plan.mass_k or 0][1].sum(-1, keepdim=True)
        return sum_before if self.policy is not None and self.plan.renormalises else None

    @property
    def _nobody(self) -> int:
        """The index that stands for no expert."""
        return int(getattr(self.experts, NUM_EXPERTS))


def _check(plan: LayerPlan, experts: nn.Module) -> None:
    """Raise ``UnsupportedFamilyError`` if the choice cannot be changed at this door."""
    name = type(experts).__name__
    implementation = getattr(getattr(experts, "config", None), "_experts_implementation", None)
    reason = None
    if not hasattr(experts, EXPERTS_MARK):
        reason = (
            f"{name} has no mark for an expert that is dropped, which the experts of transformers "
            "have since 5.18"
        )
    elif implementation == "eager" and name in NO_MARK_IN_EAGER:
        reason = (
            f"{name} has no mark for an expert that is dropped in the implementation eager; use "
            "experts_implementation=grouped_mm"
        )
    elif plan.routes_apart and DECODER_LAYER.search(plan.experts_path.rpartition(".")[0]):
        reason = "its router stands in the decoder layer itself and cannot be run alone"
    if reason is not None:
        message = (
            "This model cannot use different k for text and image tokens, experts_policy or "
            f"renorm: {plan.experts_path}: {reason}. Give it an experts_k by number, layer or "
            "phase, without those."
        )
        raise UnsupportedFamilyError(message)


def _find_choice(
    args: tuple[Any, ...], kwargs: dict[str, Any], path: str
) -> tuple[int | str, int | str]:
    """Find where indices and weights stand among the arguments; both are (tokens, k)."""
    given = _by_place(args, kwargs)
    tables = {
        at: value
        for at, value in given.items()
        if isinstance(value, _torch().Tensor) and value.dim() == TOKENS_BY_EXPERTS
    }
    at_index = next((at for at, value in tables.items() if not value.is_floating_point()), None)
    if at_index is not None:
        shape = tables[at_index].shape
        fitting = [at for at, v in tables.items() if v.is_floating_point() and v.shape == shape]
        if fitting:
            # The hidden states come first and have the same shape if k is the hidden size.
            return at_index, fitting[-1]
    message = f"{path} was called without indices and weights of the same shape."
    raise OverrideError(message)


def _by_place(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int | str, Any]:
    """Give the arguments of a call by position and by name."""
    given: dict[int | str, Any] = dict(enumerate(args))
    given.update(kwargs)
    return given


def _torch() -> Any:  # noqa: ANN401  (the module, which is imported late to start fast)
    import torch

    return torch
