"""The override as a transaction: find, validate, apply, observe, verify, restore.

``apply`` sets k on a loaded model for as long as its block runs and puts everything back
afterwards, whatever happens inside. It returns a trace: each place that was looked at, accepted
or rejected, with the reason. Setting an attribute proves nothing, because some are dead copies;
``verify`` compares what tokens were observed to use, and only its result may stand beside a number.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import NoRouterFoundError, OverrideNotEffectiveError
from moe_eval_plugin.families import K_KEYS, describe
from moe_eval_plugin.probe import find_experts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from moe_eval_plugin.probe import Observation
    from moe_eval_plugin.spec import ResolvedSchedule

ROUTER_ATTRIBUTES = ("top_k", *K_KEYS)


@dataclass(frozen=True)
class RouterDecision:
    """One place that might hold k: what it was, and why it was set or left alone.

    ``path`` is the module's path in the model, or ``config`` for a configuration object;
    ``value`` is what stood there before.
    """

    path: str
    owner: str
    attribute: str
    value: int
    accepted: bool
    reason: str


@dataclass(frozen=True)
class OverrideTrace:
    """Every place that was looked at while k was set."""

    num_experts_per_tok: int
    decisions: tuple[RouterDecision, ...]

    @property
    def accepted(self) -> tuple[RouterDecision, ...]:
        """The places that were set."""
        return tuple(decision for decision in self.decisions if decision.accepted)


@dataclass(frozen=True)
class VerifiedOverride:
    """A number of experts that tokens were observed to use in every MoE layer.

    ``requested`` is ``None`` for a model that runs as published. ``observed`` is the k of every
    token in every layer, or their mean where the published model does not use one k throughout;
    ``None`` for a dense model. ``baseline`` is the k of the published model.
    """

    requested: int | None
    baseline: int | None
    observed: float | None
    n_layers: int
    n_text_tokens: int
    n_image_tokens: int

    def to_dict(self) -> dict[str, Any]:
        """Give the record as it is stored with results."""
        return asdict(self)


@contextmanager
def apply(model: nn.Module, resolved: ResolvedSchedule) -> Iterator[OverrideTrace]:
    """Set k on each router of a model, and restore the model exactly when the block ends.

    Places that hold the model's present k are set: the attributes that routers read, and the
    same key in each configuration object that a module holds. Raises ``NoRouterFoundError``,
    with the model unchanged, if there is no such place.
    """
    present_k = describe(model.config).num_experts_per_tok
    k = resolved.num_experts_per_tok
    places = [*_router_places(model, present_k), *_config_places(model, present_k)]
    trace = OverrideTrace(k, tuple(decision for _, decision in places))
    if not trace.accepted:
        raise NoRouterFoundError(_nothing_found(model, trace), trace.decisions)
    changed = [(owner, decision) for owner, decision in places if decision.accepted]
    try:
        for owner, decision in changed:
            setattr(owner, decision.attribute, k)
        yield trace
    finally:
        for owner, decision in reversed(changed):
            setattr(owner, decision.attribute, decision.value)


def verify(
    resolved: ResolvedSchedule | None, baseline: int | None, observation: Observation
) -> VerifiedOverride:
    """Compare the k asked for with the k that tokens used.

    Raises ``OverrideNotEffectiveError`` unless every token in every MoE layer used exactly the k
    asked for. Where none was asked for (``resolved`` is ``None``), the observation is recorded.
    """
    histograms = observation.by_layer()
    requested = resolved.num_experts_per_tok if resolved else None
    if requested is not None:
        wanted = dict.fromkeys(histograms, requested)
        if not wanted or any(set(seen) != {requested} for seen in histograms.values()):
            raise OverrideNotEffectiveError(wanted, histograms)
    distinct = observation.distinct_k()
    return VerifiedOverride(
        requested=requested,
        baseline=baseline,
        observed=distinct[0] if len(distinct) == 1 else observation.mean_k(),
        n_layers=len(histograms),
        n_text_tokens=observation.n_tokens("text"),
        n_image_tokens=observation.n_tokens("image"),
    )


def _router_places(model: nn.Module, present_k: int) -> list[tuple[Any, RouterDecision]]:
    """List each integer attribute with a router's name, on any module of the model.

    Those inside an MoE layer are accepted: inside the module that also holds the experts.
    """
    moe_layers = tuple(path.rpartition(".")[0] for path in find_experts(model))
    places = []
    for path, module in model.named_modules():
        is_inside = any(f"{path}.".startswith(f"{layer}.") for layer in moe_layers)
        for attribute in ROUTER_ATTRIBUTES:
            value = vars(module).get(attribute)
            if isinstance(value, int) and not isinstance(value, bool):
                reason = _why_not(value, present_k, is_inside=is_inside)
                places.append((module, _decision(path, module, attribute, value, reason)))
    return places


def _config_places(model: nn.Module, present_k: int) -> list[tuple[Any, RouterDecision]]:
    """List the keys for k in each configuration object that some module holds, once each."""
    places = []
    for config in _configs(model):
        for key in K_KEYS:
            value = vars(config).get(key)
            if isinstance(value, int) and not isinstance(value, bool):
                reason = _why_not(value, present_k, is_inside=True)
                places.append((config, _decision("config", config, key, value, reason)))
    return places


def _configs(model: nn.Module) -> list[Any]:
    """Collect the configurations of all modules and the parts nested in them."""
    found: dict[int, Any] = {}
    pending = [config for m in model.modules() if (config := vars(m).get("config")) is not None]
    while pending:
        config = pending.pop()
        if id(config) not in found and hasattr(config, "model_type"):
            found[id(config)] = config
            pending.extend(v for v in vars(config).values() if hasattr(v, "model_type"))
    return list(found.values())


def _why_not(value: int, present_k: int, *, is_inside: bool) -> str | None:
    if not is_inside:
        return "the module is no part of an MoE layer"
    if value != present_k:
        return f"it holds {value}, which is not the model's k of {present_k}"
    return None


def _decision(
    path: str, owner: object, attribute: str, value: int, rejected: str | None
) -> RouterDecision:
    return RouterDecision(
        path=path,
        owner=type(owner).__name__,
        attribute=attribute,
        value=value,
        accepted=rejected is None,
        reason=rejected or "it holds the model's k",
    )


def _nothing_found(model: nn.Module, trace: OverrideTrace) -> str:
    lines = [
        (
            f"No router of {type(model).__name__} could be set to {trace.num_experts_per_tok} "
            f"experts per token. {len(trace.decisions)} places were looked at:"
        )
    ]
    lines += [f"  {d.path}.{d.attribute} ({d.owner}): {d.reason}" for d in trace.decisions[:8]]
    lines.append("Leave experts_k out to run the model as published.")
    return "\n".join(lines)
