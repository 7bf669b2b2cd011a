"""Schedule of k: the requested number of routed experts by layer, modality and phase.

``experts_k`` is a schedule: rules joined by ``/``; the last rule that matches a token sets its k.
A rule is a number of experts, or ``WHERE:NUMBER``; several conditions are joined by ``+``. Commas
and equals signs are not used, because the hosts split their arguments there::

    4                       4 routed experts for every token in every layer
    0-11:8/12-47:4          8 in the decoder layers 0 to 11, 4 in the layers 12 to 47
    text:8/image:2          by the modality of the token
    prefill:8/decode:4      by the phase
    8/image+12-47:2         8, but 2 for image tokens from layer 12 on
    @schedule.yaml          the same from a file
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidExpertCountError, NotAnMoEError
from moe_eval_plugin.experts.tokens import TOKEN_KINDS, Modality, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord


@dataclass(frozen=True)
class ScheduleRule:
    """Number of routed experts per token, for the tokens that the rule matches.

    ``layers`` is the first and the last decoder layer, counted from 0 as in the model's module
    paths. ``None`` means all layers, both modalities, both phases.
    """

    num_experts_per_tok: int
    layers: tuple[int, int] | None = None
    modality: Modality | None = None
    phase: Phase | None = None

    def matches(self, layer: int | None, modality: Modality, phase: Phase) -> bool:
        """Whether the rule applies to such a token; a ``layer`` of ``None`` is any layer."""
        first, last = self.layers or (0, 0)
        in_layers = layer is None or self.layers is None or first <= layer <= last
        return in_layers and self.modality in {None, modality} and self.phase in {None, phase}

    def __str__(self) -> str:
        layers = "-".join(str(end) for end in dict.fromkeys(self.layers or ()))
        where = "+".join(part for part in (self.modality, self.phase, layers) if part)
        return f"{where}:{self.num_experts_per_tok}" if where else str(self.num_experts_per_tok)


@dataclass(frozen=True)
class ExpertSchedule:
    """The requested ``experts_k``; the last rule that matches a token sets its k."""

    rules: tuple[ScheduleRule, ...]
    tuning: TuningRecord | None = field(default=None, compare=False)
    """Where it comes from, if it was read from a file of ``moe-eval tune``."""

    @property
    def text(self) -> str:
        """The schedule as it is stored with results, and in the form of ``experts_k``."""
        return "/".join(str(rule) for rule in self.rules)

    @property
    def names_layers(self) -> bool:
        """Whether the layers of a model must be known to resolve the schedule."""
        return any(rule.layers for rule in self.rules)

    def resolve(
        self, description: MoEDescription, moe_layers: Sequence[int] | None = None
    ) -> ResolvedSchedule:
        """Return k by layer, modality and phase, checked before any weight is loaded.

        ``moe_layers`` are the numbers of the decoder layers with routed experts; they are needed
        only by a schedule that names layers. Raises ``NotAnMoEError`` for a dense model,
        ``UnsupportedFamilyError`` where the router cannot use another k, and
        ``InvalidExpertCountError`` for a k outside the range of the routers, for tokens that no
        rule matches, and for a rule that sets the k of no token.
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
            table={key: rule.num_experts_per_tok for key, rule in chosen.items() if rule},
        )

    def _rule(self, layer: int | None, modality: Modality, phase: Phase) -> ScheduleRule | None:
        matching = (r for r in reversed(self.rules) if r.matches(layer, modality, phase))
        return next(matching, None)

    def _check_model(self, description: MoEDescription) -> None:
        if description.unknown_k_of:
            message = (
                f"experts_k={self.text} is not possible for {description.model_type}: its "
                f"configuration states {description.unknown_k_of} experts, and under no known name "
                "how many of them a token uses. Write num_experts_per_tok into config.json, or "
                "register the family with its k_key (docs/reference/plugins.md)."
            )
            raise NotAnMoEError(message)
        if not description.is_moe:
            message = (
                f"experts_k={self.text} is not possible for {description.model_type}, which is a "
                "dense model without routed experts. Leave experts_k out to run it as a reference, "
                "or choose an MoE model."
            )
            raise NotAnMoEError(message)
        description.raise_if_fixed()

    def _check_count(self, k: int, description: MoEDescription) -> None:
        smallest = description.min_num_experts_per_tok
        largest = description.max_num_experts_per_tok
        if smallest <= k <= largest:
            return
        zero = description.num_zero_experts
        among = description.num_experts + zero
        computing = f", of which {description.num_experts} compute" if zero else ""
        grouped = f", and a token can reach {largest} of them"
        limit = grouped if largest < description.num_experts else ""
        size = "many" if k > largest else "few"
        because = description.min_num_experts_per_tok_reason if k < smallest else None
        reason = f", because {because}" if because else ""
        message = (
            f"{description.model_type} has {among} experts per layer{computing} "
            f"({description.num_experts_per_tok} used as published{limit}); "
            f"experts_k={self.text} is too {size}{reason}. Use {smallest} to {largest}."
        )
        raise InvalidExpertCountError(message)

    def _check_coverage(
        self,
        chosen: Mapping[tuple[int | None, Modality, Phase], ScheduleRule | None],
        layers: Sequence[int | None],
    ) -> None:
        uncovered = next((key for key, rule in chosen.items() if rule is None), None)
        if uncovered is not None:
            layer, modality, phase = uncovered
            where = "" if layer is None or not self.names_layers else f" in layer {layer}"
            message = (
                f"experts_k={self.text} sets no number of experts for {modality} tokens in "
                f"{phase}{where}. Begin with a number for all other tokens, for example "
                f"experts_k=8/{self.text}."
            )
            raise InvalidExpertCountError(message)
        used = set(chosen.values())
        unused = next((rule for rule in self.rules if rule not in used), None)
        if unused is not None:
            message = (
                f"The part {unused} of experts_k={self.text} applies to no token: a later part "
                f"covers the same tokens, or {_layers_text(layers)}. Remove or correct it."
            )
            raise InvalidExpertCountError(message)


@dataclass(frozen=True)
class ResolvedSchedule:
    """A schedule that was checked against a model's description.

    ``table`` maps (decoder layer, modality, phase) to k; the layer is ``None`` where k is the same
    in every layer.
    """

    schedule: ExpertSchedule
    table: Mapping[tuple[int | None, Modality, Phase], int]

    def k_of(self, layer: int | None, modality: Modality, phase: Phase) -> int:
        """Return the k of such a token; ``KeyError`` for no layer (``None``) if layers differ."""
        k = self.table.get((layer, modality, phase))
        return self.table[None, modality, phase] if k is None else k

    def covers(self, layer: int) -> bool:
        """Whether the schedule sets k in a decoder layer."""
        return any(key[0] in (None, layer) for key in self.table)

    @property
    def num_experts_per_tok(self) -> int | None:
        """The k of every token in every layer; ``None`` where they differ."""
        ks = set(self.table.values())
        return next(iter(ks)) if len(ks) == 1 else None

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
        for token, k in self.table.items():
            grouped.setdefault(key(*token), set()).add(k)
        return grouped


def constant_schedule(k: int) -> ExpertSchedule:
    """Return the schedule that sets the same k for every token."""
    return ExpertSchedule((ScheduleRule(k),))


def _layers_text(layers: Iterable[int | None]) -> str:
    numbers = [layer for layer in layers if layer is not None]
    if not numbers:
        return "no such token exists (image tokens are in the prompt, so none is decoded)"
    return f"the model's MoE layers are numbered {min(numbers)} to {max(numbers)}"
