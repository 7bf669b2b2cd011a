"""What was asked for: frozen data that knows nothing of models, hosts or engines.

``experts_k`` is a schedule: rules joined by ``/``, of which the last one that speaks of a token
holds for it. A rule is a number of experts, or ``WHERE:NUMBER``; several conditions are joined by
``+``. Commas and equals signs are free, because the hosts split their arguments there::

    4                       4 routed experts for every token in every layer
    0-11:8/12-47:4          8 in the decoder layers 0 to 11, 4 in the layers 12 to 47
    text:8/image:2          by what the token is
    prefill:8/decode:4      by what the model does
    8/image+12-47:2         8, but 2 for image tokens from layer 12 on
    @schedule.yaml          the same from a file
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidExpertCountError, NotAnMoEError
from moe_eval_plugin.experts.tokens import TOKEN_KINDS, Modality, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from moe_eval_plugin.experts.description import MoEDescription


@dataclass(frozen=True)
class ScheduleRule:
    """So many routed experts per token, for the tokens that the rule speaks of.

    ``layers`` is the first and the last decoder layer, counted from 0 as in the model's module
    paths. ``None`` stands for all layers, both modalities, both phases.
    """

    num_experts_per_tok: int
    layers: tuple[int, int] | None = None
    modality: Modality | None = None
    phase: Phase | None = None

    def matches(self, layer: int | None, modality: Modality, phase: Phase) -> bool:
        """Tell whether the rule speaks of such a token; a ``layer`` of ``None`` is any layer."""
        first, last = self.layers or (0, 0)
        in_layers = layer is None or self.layers is None or first <= layer <= last
        return in_layers and self.modality in {None, modality} and self.phase in {None, phase}

    def __str__(self) -> str:
        layers = "-".join(str(end) for end in dict.fromkeys(self.layers or ()))
        where = "+".join(part for part in (self.modality, self.phase, layers) if part)
        return f"{where}:{self.num_experts_per_tok}" if where else str(self.num_experts_per_tok)


@dataclass(frozen=True)
class ExpertSchedule:
    """The ``experts_k`` that a user asked for; of several rules, the last one that fits holds."""

    rules: tuple[ScheduleRule, ...]

    @property
    def text(self) -> str:
        """The schedule as it is stored with results, and as ``experts_k`` takes it again."""
        return "/".join(str(rule) for rule in self.rules)

    @property
    def names_layers(self) -> bool:
        """Whether the layers of a model must be known to resolve the schedule."""
        return any(rule.layers for rule in self.rules)

    def resolve(
        self, description: MoEDescription, moe_layers: Sequence[int] | None = None
    ) -> ResolvedSchedule:
        """Check the schedule against a model, before any of its weights is loaded.

        ``moe_layers`` are the numbers of the decoder layers that hold routed experts; a schedule
        that names no layers does without. Raises ``NotAnMoEError`` for a dense model,
        ``UnsupportedFamilyError`` where the router cannot use another k, and
        ``InvalidExpertCountError`` for a k outside 1 to the largest that the routers can choose,
        for tokens that no rule speaks of, and for a rule that holds for no token.
        """
        self._check_model(description)
        for rule in self.rules:
            self._check_count(rule.num_experts_per_tok, description)
        if self.names_layers and moe_layers is None:
            message = f"experts_k={self.text} names layers, so moe_layers are needed"
            raise ValueError(message)
        layers: Sequence[int | None] = moe_layers or (None,)
        chosen = {
            (layer, *kind): self._rule(layer, *kind) for layer in layers for kind in TOKEN_KINDS
        }
        self._check_coverage(chosen, layers)
        return ResolvedSchedule(
            schedule=self,
            table={place: rule.num_experts_per_tok for place, rule in chosen.items() if rule},
        )

    def _rule(self, layer: int | None, modality: Modality, phase: Phase) -> ScheduleRule | None:
        fitting = (r for r in reversed(self.rules) if r.matches(layer, modality, phase))
        return next(fitting, None)

    def _check_model(self, description: MoEDescription) -> None:
        if not description.is_moe:
            message = (
                f"experts_k={self.text} was asked of {description.model_type}, which is a dense "
                "model: it has no experts to choose from. Leave experts_k out to run it as a "
                "reference, or name an MoE model."
            )
            raise NotAnMoEError(message)
        description.raise_if_fixed()

    def _check_count(self, k: int, description: MoEDescription) -> None:
        smallest = description.min_num_experts_per_tok
        largest = description.max_num_experts_per_tok
        if smallest <= k <= largest:
            return
        grouped = f", and their groups leave {largest} of them to a token"
        limit = grouped if largest < description.num_experts else ""
        message = (
            f"experts_k={self.text} is not possible for {description.model_type}: its routers "
            f"choose among {description.num_experts} experts{limit}, and use "
            f"{description.num_experts_per_tok} of them as published. Use {smallest} to {largest}."
        )
        raise InvalidExpertCountError(message)

    def _check_coverage(
        self,
        chosen: Mapping[tuple[int | None, Modality, Phase], ScheduleRule | None],
        layers: Sequence[int | None],
    ) -> None:
        bare = next((place for place, rule in chosen.items() if rule is None), None)
        if bare is not None:
            layer, modality, phase = bare
            where = "" if layer is None or not self.names_layers else f" in layer {layer}"
            message = (
                f"experts_k={self.text} does not say how many experts {modality} tokens use "
                f"in {phase}{where}. Begin with a number for all other tokens, for instance "
                f"experts_k=8/{self.text}."
            )
            raise InvalidExpertCountError(message)
        used = set(chosen.values())
        idle = next((rule for rule in self.rules if rule not in used), None)
        if idle is not None:
            message = (
                f"The part {idle} of experts_k={self.text} holds for no token: a later part "
                f"speaks of the same tokens, or {_layers_text(layers)}. Take it out or mend it."
            )
            raise InvalidExpertCountError(message)


@dataclass(frozen=True)
class ResolvedSchedule:
    """A schedule that was checked against a model's description.

    ``table`` gives k by decoder layer, modality and phase; the layer is ``None`` where k is the
    same in every layer.
    """

    schedule: ExpertSchedule
    table: Mapping[tuple[int | None, Modality, Phase], int]

    def k_of(self, layer: int | None, modality: Modality, phase: Phase) -> int:
        """Give the k of such a token; where layers differ, a ``layer`` of ``None`` raises."""
        k = self.table.get((layer, modality, phase))
        return self.table[None, modality, phase] if k is None else k

    def covers(self, layer: int) -> bool:
        """Tell whether the schedule gives a k to a decoder layer."""
        return any(place[0] in (None, layer) for place in self.table)

    @property
    def num_experts_per_tok(self) -> int | None:
        """The k of every token in every layer; ``None`` where they differ."""
        ks = set(self.table.values())
        return next(iter(ks)) if len(ks) == 1 else None

    @property
    def differs_by_layer(self) -> bool:
        """Whether some layer has another k than another one."""
        kinds = self._by(lambda _layer, modality, phase: (modality, phase))
        return any(len(ks) > 1 for ks in kinds.values())

    @property
    def differs_by_modality(self) -> bool:
        """Whether image and text tokens of a prompt have different k in some layer."""
        layers = self._by(lambda layer, _modality, phase: (layer, phase))
        return any(len(ks) > 1 for ks in layers.values())

    @property
    def differs_by_phase(self) -> bool:
        """Whether text tokens have another k in decode than in prefill in some layer."""
        layers = self._by(lambda layer, modality, _phase: (layer, modality))
        return any(len(ks) > 1 for ks in layers.values())

    def _by(
        self, key: Callable[[int | None, Modality, Phase], Hashable]
    ) -> dict[Hashable, set[int]]:
        grouped: dict[Hashable, set[int]] = {}
        for place, k in self.table.items():
            grouped.setdefault(key(*place), set()).add(k)
        return grouped


def constant_schedule(k: int) -> ExpertSchedule:
    """Make the schedule that gives every token k experts."""
    return ExpertSchedule((ScheduleRule(k),))


def _layers_text(layers: Iterable[int | None]) -> str:
    numbers = [layer for layer in layers if layer is not None]
    if not numbers:
        return "no such token exists (image tokens are in the prompt, so none is decoded)"
    return f"the model's MoE layers are numbered {min(numbers)} to {max(numbers)}"
