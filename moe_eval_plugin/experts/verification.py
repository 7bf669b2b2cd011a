"""The check that decides whether a number may be printed: k as asked for against k as observed."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import OverrideError
from moe_eval_plugin.experts.layer_summary import LayerSummary, read_layers
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.experts.routing_rule import NATIVE, RoutingRule
from moe_eval_plugin.json_object import JsonObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from moe_eval_plugin.experts.observation import Observation
    from moe_eval_plugin.experts.schedule import ResolvedSchedule
    from moe_eval_plugin.experts.tokens import Modality, Phase

MAX_LAYERS_IN_MESSAGE = 4


@dataclass(frozen=True)
class VerifiedOverride:
    """The numbers of experts that tokens were observed to use in every MoE layer.

    ``requested`` is the k of every token, ``None`` for a model that runs as published and for a
    schedule of several k; ``experts_k`` is the schedule as text. ``observed`` is the k of every
    token in every layer, or their mean where they differ; ``observed_text`` and
    ``observed_image`` are the means of one modality. All are ``None`` for a dense model.
    ``baseline`` is the k of the published model. ``routing`` holds the observation by layer.
    """

    requested: int | None
    baseline: int | None
    observed: float | None
    n_layers: int
    n_text_tokens: int
    n_image_tokens: int
    experts_k: str | None = None
    experts_policy: str = NATIVE.policy_text
    renorm: str = NATIVE.renorm
    observed_text: float | None = None
    observed_image: float | None = None
    routing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def choice(self) -> tuple[object, ...]:
        """What was asked for, and of what: equal for all processes of one run."""
        return (self.experts_k, self.experts_policy, self.renorm, self.baseline, self.n_layers)

    @property
    def layers(self) -> tuple[LayerSummary, ...]:
        """What was observed in each MoE layer; empty where only configurations were compared."""
        return read_layers(JsonObject(self.routing, path="routing"))

    def to_dict(self) -> dict[str, Any]:
        """Return the record as it is stored with results."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> VerifiedOverride:
        """Build the record from what ``to_dict`` stored; ``DataError`` for a wrong type."""
        routing = values.item("routing") or JsonObject({})
        read_layers(routing)
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
) -> VerifiedOverride:
    """Compare the k asked for with the k that tokens used.

    Raises ``OverrideNotEffectiveError`` unless every token in every MoE layer used exactly the k
    asked for, and each kind of token that the schedule tells apart was seen. A policy may drop
    experts, so with one each token must have used 1 to k. Where no k was asked for (``resolved``
    is ``None``), the observation is recorded.
    """
    if resolved is not None:
        expected = dict(_expected(resolved, observation))
        wrong = {p for p, (k, seen) in expected.items() if not seen or not _is_right(seen, k, rule)}
        missed = observation.missed_tokens()
        if not expected or wrong or missed:
            raise OverrideNotEffectiveError(
                {place: k for place, (k, _) in expected.items()},
                {place: seen for place, (_, seen) in expected.items()},
                wrong,
                missed,
            )
    distinct = observation.distinct_k()
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
        routing=observation.to_dict(),
    )


def raise_if_ranks_differ(ranks: Sequence[Mapping[str, VerifiedOverride]]) -> None:
    """Raise ``OverrideError`` if the processes of one run use different k for one task.

    Each rank gives what it verified, by task; a rank without requests of a task leaves it out.
    """
    for task in dict.fromkeys(task for verified in ranks for task in verified):
        choices = {rank: v[task].choice for rank, v in enumerate(ranks) if task in v}
        if len(set(choices.values())) > 1:
            k = ", ".join(f"rank {rank}: {choice[0]}" for rank, choice in choices.items())
            message = (
                f"The processes of this run use different experts for {task} ({k}), so their "
                "answers cannot be joined. Start all of them with the same --model_args."
            )
            raise OverrideError(message)


def _expected(
    resolved: ResolvedSchedule, observation: Observation
) -> Iterator[tuple[str, tuple[int, dict[int, int]]]]:
    """Give k, and what was seen of it, by layer and by kind of token if the schedule does so."""
    modalities: tuple[Modality | None, ...] = ("text", "image")
    phases: tuple[Phase | None, ...] = ("prefill", "decode")
    for modality, phase in itertools.product(
        modalities if resolved.differs_by_modality else (None,),
        phases if resolved.differs_by_phase else (None,),
    ):
        if (modality, phase) == ("image", "decode"):
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
    """Tokens used another number of routed experts than was asked for.

    ``requested`` and ``observed`` map an MoE layer, and the kind of token where the request tells
    kinds apart, to the k asked for, and to a histogram of the k that was seen: distinct routed
    experts -> tokens, empty where no token was seen. ``wrong`` names those that do not agree.
    ``missed`` counts the tokens of the model that went round a layer's experts, by its path.
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
        """List what does not agree, in the order of the model."""
        return [layer for layer in self.requested if layer in self._wrong]

    def _message(self) -> str:
        wrong = self.wrong_layers()
        faults = [self._fault(layer) for layer in wrong]
        faults += [
            f"  {path}: {n} tokens were not seen at its experts, so their k is not known"
            for path, n in self.missed.items()
            if path not in self._wrong
        ]
        tells_kinds_apart = any(" tokens" in layer for layer in self.requested)
        what = "MoE layers and kinds of token" if tells_kinds_apart else "MoE layers"
        lines = [
            (
                f"Tokens do not use the number of experts asked for in {len(faults)} of "
                f"{len(self.requested)} {what}, so no result is given:"
            ),
            *faults[:MAX_LAYERS_IN_MESSAGE],
        ]
        if len(faults) > MAX_LAYERS_IN_MESSAGE:
            lines.append(f"  ... and {len(faults) - MAX_LAYERS_IN_MESSAGE} more")
        lines.append(
            "Run `moe-eval inspect MODEL` to see where this model keeps its k, and report the "
            "model if its router was not found."
        )
        return "\n".join(lines)

    def _fault(self, layer: str) -> str:
        seen = self.observed.get(layer, {})
        text = ", ".join(f"{k} by {n} tokens" for k, n in sorted(seen.items())) or "no token"
        return f"  {layer}: {self.requested[layer]} asked for, observed {text}"
