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
    """The experts that the router of one MoE layer chose for the tokens of a forward pass.

    Example, a ``keep`` that keeps one expert for a text token, and all for an image token::

        def keep(choice):
            largest = choice.weights == choice.weights.amax(-1, keepdim=True)
            return largest | choice.is_image[:, None]
    """

    weights: Tensor
    """Weights of the chosen experts, (tokens, k) in float32, in any order and never negative.

    A weight of 0 marks an empty place. If k differs by modality, some tokens have fewer experts
    than there are columns.
    """
    layer: int | None = None
    """Number of the decoder layer, as in module paths; ``None`` if the paths have no number."""
    position: int = 0
    """Position among the layers with routed experts, from 0."""
    is_image: Tensor | None = None
    """Which tokens are image tokens, boolean (tokens,); only with ``needs_modality``."""


@dataclass(frozen=True)
class PolicyParameter:
    """A number of a policy, with its bounds. It may differ from layer to layer.

    Example, a number from 0 to 1, both allowed::

        PolicyParameter("share", "the share to reach", low=0, high=1, includes_low=True)
    """

    name: str
    """Its name. Help and messages show it in capitals: ``experts_policy=NAME:SHARE``."""
    meaning: str
    """What the number is, as the rest of a sentence after "SHARE is"."""
    low: float = 0.0
    """Lower bound. The number must be above it, or at least equal with ``includes_low``."""
    high: float = 1.0
    """Largest number allowed."""
    includes_low: bool = False
    """Whether ``low`` itself is allowed."""

    def allows(self, number: float) -> bool:
        """Return whether a number is within the bounds."""
        above = number >= self.low if self.includes_low else number > self.low
        return math.isfinite(number) and above and number <= self.high

    @property
    def bounds(self) -> str:
        """The bounds in words, such as "above 0 and at most 1"."""
        lower = f"{'at least' if self.includes_low else 'above'} {self.low:g}"
        return lower if math.isinf(self.high) else f"{lower} and at most {self.high:g}"


@dataclass(frozen=True)
class Policy:
    """A rule that drops some of the experts that the router chose, with numbers as parameters.

    Users write ``experts_policy=NAME:NUMBER:NUMBER``. Instead of a number they may write one
    number for each MoE layer, joined by ``/``. ``keep`` and ``check`` always get the numbers of
    one layer. Example::

        Policy(
            name="above",
            summary="keep the experts whose weight is at least a number",
            parameters=(PolicyParameter("number", "the smallest weight to keep"),),
            keep=lambda choice, number: choice.weights >= number,
        )
    """

    name: str
    """Name of the policy, for ``experts_policy``."""
    summary: str
    """What the policy keeps, in one line."""
    parameters: tuple[PolicyParameter, ...]
    """The parameters, in the order of their numbers."""
    keep: Callable[Concatenate[LayerChoice, ...], Tensor]
    """Function of a ``LayerChoice`` and one number per parameter; returns which experts to keep.

    The result is a boolean tensor, (tokens, k). The expert with the largest weight is always
    kept. The function runs in each MoE layer of each forward pass, so it must not wait for the
    device.
    """
    check: Callable[..., str | None] | None = None
    """Function of one number per parameter; returns what is wrong with the set, or ``None``."""
    needs_modality: bool = False
    """Whether ``keep`` needs to know which tokens are image tokens."""

    @property
    def usage(self) -> str:
        """How the policy is written, such as ``top_p:SHARE``."""
        return ":".join([self.name, *(one.name.upper() for one in self.parameters)])

    @property
    def help(self) -> str:
        """How the policy is written and what its numbers mean, without a full stop."""
        meanings = [f"{one.name.upper()} is {one.meaning}, {one.bounds}" for one in self.parameters]
        return f"{self.usage}, where {', and '.join(meanings)}" if meanings else self.usage

    def fault_of(self, parameters: Sequence[float | tuple[float, ...]]) -> str | None:
        """Return in words what is wrong with the parameters; ``None`` if they are allowed.

        Each parameter is a number, or a tuple with one number for each MoE layer.
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
