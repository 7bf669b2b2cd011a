"""Set k in a loaded transformers model while a block runs, and observe what tokens use."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.schedule import constant_schedule
from moe_eval_plugin.experts.verification import verify
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.moe_layers import find_moe_layers
from moe_eval_plugin.option_values import read_choice
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.observe import observe as observing
from moe_eval_plugin.override.policies.parsing import parse_rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.observation import Observation
    from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule
    from moe_eval_plugin.experts.trace import OverrideTrace
    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.override.forward_pass import ForwardPass
    from moe_eval_plugin.override.observe import PendingObservation

Observe = Literal["first", "all", "none"]


@contextmanager
def experts_k(
    model: nn.Module,
    k: int | str | None,
    *,
    experts_policy: str | None = None,
    renorm: str | None = None,
    observe: Observe = "first",
) -> Iterator[ExpertsInUse]:
    """Run a loaded transformers model with ``k`` experts per token inside a ``with`` block.

    ``k`` is a number, a schedule such as ``"8/image:2"``, or ``None`` for the published k. moe-eval
    checks k against the model's configuration and sets it in the routers. When the block ends,
    also with an exception, the published k is restored::

        with moe.experts_k(model, 4) as k:
            model.generate(**inputs, max_new_tokens=8)
        print(k.observed)  # 4.0

    ``observe`` says in which forward passes the experts are counted, which costs time. ``"first"``
    counts in the first pass of each phase (prefill and decode), ``"all"`` in every pass, and
    ``"none"`` in no pass. Use ``"none"`` when you measure time. When the block ends without an
    exception, the observed k is compared with the requested one (``ExpertsInUse.check``).

    ``experts_policy`` and ``renorm`` are the options of the same names.

    Raises ``OverrideNotEffectiveError`` if tokens used another number of experts,
    ``InvalidExpertCountError`` for a k that this model cannot use, ``NotAnMoEError`` for a dense
    model, ``OverrideError`` for a compiled model or inside another block on the same model, and
    ``InvalidArgumentError`` for anything but a loaded transformers model.
    """
    read_choice("observe", observe, get_args(Observe))
    description = _description_of(model)
    rule = parse_rule(experts_policy, renorm)
    resolved = _resolved(model, k, description)
    with ExitStack() as stack:
        trace = stack.enter_context(apply(model, resolved, rule, description))
        pending = None
        if observe != "none":
            counts = _FirstOfEachPhase() if observe == "first" else _every_pass
            pending = stack.enter_context(observing(model, is_counted=counts))
        in_use = ExpertsInUse(resolved, rule, description, trace, pending)
        yield in_use
        if pending is not None and in_use.n_tokens:
            in_use.check()


class ExpertsInUse:
    """The experts that tokens used in a block of ``experts_k``, as far as they were observed.

    Each property reads counters on the model's device, so it waits for the device.
    """

    def __init__(
        self,
        resolved: ResolvedSchedule,
        rule: RoutingRule,
        description: MoEDescription,
        trace: OverrideTrace,
        pending: PendingObservation | None,
    ) -> None:
        self._resolved = resolved
        self._rule = rule
        self._description = description
        self._pending = pending
        self.trace = trace
        """Each place in the model that may hold k: accepted or rejected, with the reason."""

    @property
    def requested(self) -> str:
        """The requested k as text: ``4``, or a schedule."""
        return self._resolved.schedule.text

    @property
    def baseline(self) -> int:
        """The published k."""
        return self._description.num_experts_per_tok

    @property
    def observation(self) -> Observation | None:
        """The counts so far, by layer, modality and phase; ``None`` with ``observe="none"``."""
        return None if self._pending is None else self._pending.result()

    @property
    def observed(self) -> float | None:
        """Mean number of routed experts per token and layer; ``None`` before the first count."""
        found = self.observation
        return found.mean_k() if found else None

    @property
    def layers(self) -> Mapping[str, float | None]:
        """Mean number of routed experts per token in each MoE layer, by the path of the layer."""
        found = self.observation
        return {path: found.mean_k(path) for path in found.layers} if found else {}

    @property
    def n_tokens(self) -> int:
        """Text and image tokens in the observed passes."""
        found = self.observation
        return found.n_tokens("text") + found.n_tokens("image") if found else 0

    def check(self) -> VerifiedOverride:
        """Return the requested and the observed k, after comparing the two.

        Only kinds of token in the input are compared. Raises ``OverrideNotEffectiveError`` if
        tokens used another number of experts or no token was observed, and
        ``InvalidArgumentError`` with ``observe="none"``.
        """
        found = self.observation
        if found is None:
            message = 'Nothing was observed, as observe="none" asks. Use "first" or "all".'
            raise InvalidArgumentError(message)
        return verify(self._resolved, self.baseline, found, self._rule, present_only=True)

    def __repr__(self) -> str:
        asked = f"experts_k={self.requested} (published k: {self.baseline})"
        seen = self.layers
        known = [k for k in seen.values() if k is not None]
        if self._pending is None:
            return f"{asked}, not observed"
        if not known:
            return f"{asked}, no token was observed so far"
        return f"{asked}, observed {self.observed:.4g} in {len(known)} of {len(seen)} layers"


class _FirstOfEachPhase:
    """Whether a forward pass is the first one of its phase."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, forward_pass: ForwardPass) -> bool:
        is_first = forward_pass.phase not in self._seen
        self._seen.add(forward_pass.phase)
        return is_first


def _every_pass(_: ForwardPass) -> bool:
    return True


def _description_of(model: Any) -> MoEDescription:  # noqa: ANN401  (whatever it is called with)
    from torch import nn

    config = getattr(model, "config", None)
    if not isinstance(model, nn.Module) or not hasattr(config, "get_text_config"):
        message = (
            f"experts_k needs a loaded transformers model, and {type(model).__name__} is none. "
            'Load one, for instance AutoModelForCausalLM.from_pretrained("..."); models of vLLM '
            "take experts_k when they are started (moe_vllm)."
        )
        raise InvalidArgumentError(message)
    return describe(config)


def _resolved(
    model: nn.Module, k: int | str | None, description: MoEDescription
) -> ResolvedSchedule:
    """Check k against the description, and layers that it names against those of the model."""
    schedule = parse_experts_k(k) or constant_schedule(description.num_experts_per_tok)
    numbers = None
    if schedule.names_layers:
        found = (layer_number(layer.path) for layer in find_moe_layers(model))
        numbers = sorted({number for number in found if number is not None})
    return schedule.resolve(description, numbers)
