"""``Policy``: a rule that drops some of a token's chosen experts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Concatenate

    from torch import Tensor


@dataclass(frozen=True)
class LayerChoice:
    """The experts that one MoE layer's router chose for the tokens of a forward pass."""

    weights: Tensor
    """Weights of the chosen experts, (tokens, k) in float32: none below 0, and in no order.

    A weight of 0 is no choice: with a k by modality, some tokens have fewer experts than columns.
    """
    layer: int | None = None
    """Number of the decoder layer, as in module paths; ``None`` where paths have no number."""
    position: int = 0
    """Number of the layer among those with routed experts, from 0."""
    is_image: Tensor | None = None
    """Which tokens are image tokens, booleans (tokens,); for policies with ``needs_modality``."""


@dataclass(frozen=True)
class PolicyParameter:
    """One number of a policy, which may differ by MoE layer."""

    name: str
    """Its name in the texts for users, which show it in capitals: ``experts_policy=NAME:SHARE``."""
    meaning: str
    """What the number is, as the rest of a sentence after "is"."""
    low: float = 0.0
    """The number must be above this, or at least this with ``includes_low``."""
    high: float = 1.0
    """The number must be at most this."""
    includes_low: bool = False
    """Whether ``low`` itself is allowed."""

    def allows(self, number: float) -> bool:
        """Whether the number is within the bounds."""
        above = number >= self.low if self.includes_low else number > self.low
        return math.isfinite(number) and above and number <= self.high

    @property
    def bounds(self) -> str:
        """The bounds in words, such as "above 0 and at most 1"."""
        lower = f"{'at least' if self.includes_low else 'above'} {self.low:g}"
        return lower if math.isinf(self.high) else f"{lower} and at most {self.high:g}"


@dataclass(frozen=True)
class Policy:
    """One rule for dropping chosen experts, with numbers as its parameters.

    Users write ``experts_policy=NAME:NUMBER:NUMBER``. In the place of each number they may also
    write one for each MoE layer, joined by ``/``; ``keep`` and ``check`` are then called with
    those of one layer.
    """

    name: str
    """Name in ``experts_policy``."""
    summary: str
    """What the rule keeps, in one line."""
    parameters: tuple[PolicyParameter, ...]
    """The parameters, in the order of their numbers."""
    keep: Callable[Concatenate[LayerChoice, ...], Tensor]
    """Maps the ``LayerChoice`` and a number for each parameter to the experts to keep.

    The result is boolean, (tokens, k). It runs in each MoE layer and forward pass, so it must not
    wait for the device.
    """
    check: Callable[..., str | None] | None = None
    """Maps a number for each parameter to what is wrong with them together; ``None``: nothing."""
    needs_modality: bool = False
    """Whether ``keep`` needs to know which tokens are image tokens."""

    @property
    def usage(self) -> str:
        """How the policy is written, such as ``top_p:SHARE``."""
        return ":".join([self.name, *(one.name.upper() for one in self.parameters)])

    @property
    def help(self) -> str:
        """How the policy is written and what its numbers are, as one sentence without a stop."""
        meanings = [f"{one.name.upper()} is {one.meaning}, {one.bounds}" for one in self.parameters]
        return f"{self.usage}, where {', and '.join(meanings)}" if meanings else self.usage

    def fault_of(self, parameters: Sequence[float | tuple[float, ...]]) -> str | None:
        """Return what is wrong with these parameters, in words; ``None`` if they are allowed.

        Each is a number, or a tuple of numbers by MoE layer.
        """
        if len(parameters) != len(self.parameters):
            return f"it has {len(parameters)} of {len(self.parameters)} parameters"
        for parameter, value in zip(self.parameters, parameters, strict=True):
            wrong = [one for one in _numbers(value) if not parameter.allows(one)]
            if wrong:
                return f"{parameter.name.upper()}={wrong[0]:g} is not {parameter.bounds}"
        lengths = {len(value) for value in parameters if isinstance(value, tuple)}
        if 0 in lengths or len(lengths) > 1:
            counts = " and ".join(map(str, sorted(lengths)))
            return f"its lists have {counts} numbers, and each needs one for every MoE layer"
        rows = range(lengths.pop()) if lengths else range(1)
        return next(filter(None, (self._fault_at(parameters, row) for row in rows)), None)

    def _fault_at(self, parameters: Sequence[float | tuple[float, ...]], row: int) -> str | None:
        if self.check is None:
            return None
        return self.check(*(at_position(value, row) for value in parameters))


def at_position(parameter: float | tuple[float, ...], position: int) -> float:
    """Return the number of one MoE layer, which is counted from 0."""
    return parameter[position] if isinstance(parameter, tuple) else parameter


def _numbers(value: float | tuple[float, ...]) -> Iterable[float]:
    return value if isinstance(value, tuple) else (value,)
