"""Compare requested with observed k, and raise where they differ.

``verify`` raises unless every token in every MoE layer used the requested k; only a verified k may
be reported.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import OverrideError
from moe_eval_plugin.experts.layer_summary import LayerSummary, read_ffn_use, read_layers
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.schedules.routing_rule import NATIVE, UNIFORM, RoutingRule
from moe_eval_plugin.experts.skipped_experts import (
    SkippedExperts,
    read_skipped_experts,
    with_skipped_experts,
)
from moe_eval_plugin.json_object import JsonObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from moe_eval_plugin.experts.ffn_use import FFNUse
    from moe_eval_plugin.experts.observation import Observation
    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule
    from moe_eval_plugin.experts.tokens import Modality, Phase

MAX_LAYERS_IN_MESSAGE = 4
ADVICE = (
    "Run `moe-eval inspect MODEL` to see the MoE layers of this model, and report the model if its "
    "router was not found."
)
ADVICE_UNSEEN = (
    "Either no module of these layers shows the choice, or the choice does not agree with the rows "
    "that their experts were called with. Tokens may well use the requested number, but nothing "
    "shows it. Leave experts_k out to run the model as published, or report the model."
)


@dataclass(frozen=True)
class VerifiedOverride:
    """The requested and the observed k of a run, after verification.

    Example::

        print(record.experts.requested, record.experts.observed, record.experts.text)
    """

    requested: int | None
    """Requested k; ``None`` without a request, and for a schedule with several k."""
    baseline: int | None
    """Published k; ``None`` for a dense model."""
    observed: float | None
    """k of every token in every MoE layer, or its mean if k differs; ``None`` for a dense model."""
    n_layers: int
    """Observed MoE layers."""
    n_text_tokens: int
    """Text tokens in the input of the observed model."""
    n_image_tokens: int
    """Image tokens in the input of the observed model, those of videos included."""
    experts_k: str | None = None
    """Requested schedule, in the form of the option ``experts_k``; ``None`` without a request."""
    experts_policy: str = NATIVE.policy_text
    """The policy, in the form of the option ``experts_policy``."""
    renorm: str = NATIVE.renorm
    """How the weights of the kept experts are scaled, in the form of the option ``renorm``."""
    observed_text: float | None = None
    """Mean k of text tokens; ``None`` without text tokens."""
    observed_image: float | None = None
    """Mean k of image tokens; ``None`` without image tokens."""
    routing: Mapping[str, Any] = field(default_factory=dict)
    """The observation by layer."""

    @property
    def choice(self) -> tuple[object, ...]:
        """The request and the published k, which are equal in all processes of a run."""
        return (self.experts_k, self.experts_policy, self.renorm, self.baseline, self.n_layers)

    @property
    def layers(self) -> tuple[LayerSummary, ...]:
        """What was observed in each MoE layer; empty if only configurations were compared."""
        return read_layers(JsonObject(self.routing, path="routing"))

    @property
    def ffn_use(self) -> FFNUse | None:
        """Experts per token without zero experts; ``None`` if the family has no zero experts."""
        return read_ffn_use(JsonObject(self.routing, path="routing"))

    @property
    def skipped_experts(self) -> SkippedExperts | None:
        """Share of the chosen experts that the policy skipped; ``None`` without a policy."""
        return read_skipped_experts(JsonObject(self.routing, path="routing"))

    @property
    def text(self) -> str:
        """The observation in one line, such as ``8 of 32 experts in 4 of 4 layers``."""
        layers = self.layers
        seen = [one for one in layers if one.observed_num_experts_per_tok is not None]
        counts = sorted({one.num_experts for one in layers if one.num_experts is not None})
        if self.observed is None:
            return "no experts were observed"
        k = f"{self.observed:.3g}"
        of = f" of {counts[0]}" if len(counts) == 1 else ""
        n_seen, n = (len(seen), len(layers)) if layers else (self.n_layers, self.n_layers)
        return f"{k}{of} experts in {n_seen} of {n} layers"

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data, as it is stored with results."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> VerifiedOverride:
        """Build the record from what ``to_dict`` stored; ``DataError`` for a wrong type."""
        routing = values.item("routing") or JsonObject({})
        read_layers(routing)
        read_ffn_use(routing)
        read_skipped_experts(routing)
        return cls(
            requested=values.integer("requested"),
            baseline=values.integer("baseline"),
            observed=values.number("observed"),
            n_layers=values.need_integer("n_layers"),
            n_text_tokens=values.need_integer("n_text_tokens"),
            n_image_tokens=values.need_integer("n_image_tokens"),
            experts_k=values.text("experts_k"),
            experts_policy=values.text("experts_policy") or NATIVE.policy_text,
            renorm=values.text("renorm") or NATIVE.renorm,
            observed_text=values.number("observed_text"),
            observed_image=values.number("observed_image"),
            routing=routing.values,
        )


def verify(
    resolved: ResolvedSchedule | None,
    baseline: int | None,
    observation: Observation,
    rule: RoutingRule = NATIVE,
    *,
    present_only: bool = False,
) -> VerifiedOverride:
    """Return requested and observed k, after checking that they agree.

    Raises ``OverrideNotEffectiveError`` unless every token in every MoE layer used exactly the
    requested k, and each kind of token that the schedule distinguishes was observed; with
    ``present_only``, each kind that is in the input. A policy may drop experts, so with one each
    token must have used 1 to k. Without a request (``resolved`` is ``None``), the observation is
    recorded as it is.
    """
    if resolved is not None:
        expected = dict(_expected(resolved, observation, present_only=present_only))
        wrong = {p for p, (k, seen) in expected.items() if not seen or not _is_right(seen, k, rule)}
        missed = observation.missed_tokens()
        if not expected or wrong or missed:
            raise OverrideNotEffectiveError(
                {layer: k for layer, (k, _) in expected.items()},
                {layer: seen for layer, (_, seen) in expected.items()},
                wrong,
                missed,
            )
    distinct = observation.distinct_k()
    routing = observation.to_dict()
    if resolved is not None and rule.policy != UNIFORM:
        routing = with_skipped_experts(routing, observation, resolved)
    return VerifiedOverride(
        requested=resolved.num_experts_per_tok if resolved else None,
        baseline=baseline,
        observed=distinct[0] if len(distinct) == 1 else observation.mean_k(),
        n_layers=len(observation.by_layer()),
        n_text_tokens=observation.n_tokens("text"),
        n_image_tokens=observation.n_tokens("image"),
        experts_k=resolved.schedule.text if resolved else None,
        experts_policy=rule.policy_text,
        renorm=rule.renorm,
        observed_text=observation.mean_k(modality="text"),
        observed_image=observation.mean_k(modality="image"),
        routing=routing,
    )


def raise_if_ranks_differ(ranks: Sequence[Mapping[str, VerifiedOverride]]) -> None:
    """Raise ``OverrideError`` if the processes of one run use different k for one task.

    ``ranks`` has the verified override by task of each rank; a rank without requests of a task
    leaves it out.
    """
    for task in dict.fromkeys(task for verified in ranks for task in verified):
        choices = {rank: v[task].choice for rank, v in enumerate(ranks) if task in v}
        if len(set(choices.values())) > 1:
            k = ", ".join(f"rank {rank}: {choice[0]}" for rank, choice in choices.items())
            message = (
                f"The processes of this run use different experts for {task} ({k}), so their "
                "answers cannot be combined. Start all of them with the same --model_args."
            )
            raise OverrideError(message)


def join_ranks(ranks: Sequence[Mapping[str, VerifiedOverride]]) -> dict[str, VerifiedOverride]:
    """Return the verified override of each task that any process observed, of the first such one.

    Raises what ``raise_if_ranks_differ`` raises.
    """
    raise_if_ranks_differ(ranks)
    return {task: one for verified in reversed(ranks) for task, one in verified.items()}


def _expected(
    resolved: ResolvedSchedule, observation: Observation, *, present_only: bool
) -> Iterator[tuple[str, tuple[int, dict[int, int]]]]:
    """Yield requested k and observed histogram by layer, and by token kind if k differs by it."""
    modalities: tuple[Modality | None, ...] = ("text", "image")
    phases: tuple[Phase | None, ...] = ("prefill", "decode")
    for modality, phase in itertools.product(
        modalities if resolved.differs_by_modality else (None,),
        phases if resolved.differs_by_phase else (None,),
    ):
        if (modality, phase) == ("image", "decode"):
            continue
        kinds = (modality,) if modality else modalities
        if present_only and not any(observation.n_tokens(kind, phase) for kind in kinds if kind):
            continue
        which = f"{modality or 'all'} tokens" + (f" in {phase}" if phase else "")
        tokens = f", {which}" if modality or phase else ""
        for path, seen in observation.by_layer(modality, phase).items():
            k = resolved.k_of(layer_number(path), modality or "text", phase or "prefill")
            yield f"{path}{tokens}", (k, seen)


def _is_right(seen: Mapping[int, int], k: int, rule: RoutingRule) -> bool:
    if rule.policy == NATIVE.policy:
        return set(seen) == {k}
    return min(seen) >= 1 and max(seen) <= k


class OverrideNotEffectiveError(OverrideError):
    """The number of routed experts that tokens used is not the requested one.

    The attributes ``requested``, ``observed`` and ``missed`` are dictionaries. Their keys are MoE
    layers, with the kind of token if the request distinguishes kinds. ``requested`` has the
    requested k. ``observed`` has a dictionary from each observed k to its number of tokens, which
    is empty if no token was observed. ``missed`` has the number of tokens that never reached the
    experts.
    """

    def __init__(
        self,
        requested: Mapping[str, int],
        observed: Mapping[str, Mapping[int, int]],
        wrong: Iterable[str],
        missed: Mapping[str, int] | None = None,
    ) -> None:
        self.requested = dict(requested)
        self.observed = {layer: dict(histogram) for layer, histogram in observed.items()}
        self.missed = dict(missed or {})
        self._wrong = set(wrong)
        super().__init__(self._message())

    def wrong_layers(self) -> list[str]:
        """Return the layers in which the two differ, in the order of the model."""
        return [layer for layer in self.requested if layer in self._wrong]

    def _message(self) -> str:
        wrong = self.wrong_layers()
        faults = [self._fault(layer) for layer in wrong]
        faults += [
            f"  {path}: {n} tokens were not observed at its experts, so their k is unknown"
            for path, n in self.missed.items()
            if path not in self._wrong
        ]
        by_token_kind = any(" tokens" in layer for layer in self.requested)
        what = "MoE layers and kinds of token" if by_token_kind else "MoE layers"
        some_are_seen = any(self.observed.get(layer) for layer in wrong)
        headline = (
            "Tokens do not use the requested number of experts"
            if some_are_seen
            else "The number of experts that tokens use cannot be observed"
        )
        lines = [
            f"{headline} in {len(faults)} of {len(self.requested)} {what}; no result is reported:",
            *faults[:MAX_LAYERS_IN_MESSAGE],
        ]
        if len(faults) > MAX_LAYERS_IN_MESSAGE:
            lines.append(f"  ... and {len(faults) - MAX_LAYERS_IN_MESSAGE} more")
        lines.append(ADVICE if some_are_seen else ADVICE_UNSEEN)
        return "\n".join(lines)

    def _fault(self, layer: str) -> str:
        seen = self.observed.get(layer, {})
        text = ", ".join(f"{k} by {n} tokens" for k, n in sorted(seen.items())) or "no token"
        return f"  {layer}: {self.requested[layer]} requested, observed {text}"
