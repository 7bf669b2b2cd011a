"""The errors of this package, as one tree.

::

    MoEEvalError                        exit code 3
    ├── UserError                       exit code 2, shown without a traceback
    │   ├── InvalidArgumentError        an unknown option, or a value that an option cannot take
    │   ├── InvalidExpertCountError     an ``experts_k`` that this model cannot use
    │   ├── NotAnMoEError               ``experts_k`` was asked of a dense model
    │   ├── UnsupportedFamilyError      the router of this family cannot change its k
    │   ├── ModelNotFoundError          there is no such model on disk or on the hub
    │   ├── InsufficientMemoryError     the model does not fit into this machine
    │   ├── MissingDependencyError      an optional package is not installed
    │   └── DataError                   a data file is missing, broken or inconsistent
    │       └── IncompleteRunError      a run lacks answers that a submission needs
    ├── OverrideError                   the k asked for is not the k that the model uses
    │   ├── NoRouterFoundError          nothing in the model could be set to k
    │   └── OverrideNotEffectiveError   tokens were observed to use another number of experts
    ├── MeasurementError                a time or a count cannot be right, so it is not reported
    ├── CheckpointMismatchError         the weights on disk are not those of the model
    ├── EngineFailedError               an inference engine did not start, or died on the way
    └── PluginLoadError                 an installed plugin could not be loaded

A message says what failed, with which value, what is allowed, and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from moe_eval_plugin.places import RouterDecision

MAX_LAYERS_IN_MESSAGE = 4


class MoEEvalError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code = 3


class UserError(MoEEvalError):
    """The request cannot be served as it was made; the message says how to make it instead."""

    exit_code = 2


class InvalidArgumentError(UserError):
    """An option is unknown, or its value is not one that it can take."""


class InvalidExpertCountError(UserError):
    """``experts_k`` is not a number of experts that this model can use."""


class NotAnMoEError(UserError):
    """``experts_k`` was given for a model without experts."""


class UnsupportedFamilyError(UserError):
    """The router of this model family cannot use another k; the message gives the reason."""


class ModelNotFoundError(UserError):
    """``pretrained`` names no model on this disk or on the hub."""


class InsufficientMemoryError(UserError):
    """The weights are larger than the memory of this machine."""


class MissingDependencyError(UserError):
    """An optional package is needed and absent; the message names the extra to install."""


class DataError(UserError):
    """A data file is missing, broken or inconsistent with another one."""


class OverrideError(MoEEvalError):
    """The experts that the model uses are not those that were asked for."""


class NoRouterFoundError(OverrideError):
    """No module of the model could be set to the k asked for.

    ``trace`` holds each module that was looked at and why it was rejected.
    """

    def __init__(self, message: str, trace: Sequence[RouterDecision]) -> None:
        super().__init__(message)
        self.trace = tuple(trace)


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


class MeasurementError(MoEEvalError):
    """What was measured contradicts itself, so no number of this run can be believed."""


class CheckpointMismatchError(MoEEvalError):
    """Weights of the model are missing from its checkpoint, left over, or of another shape."""


class EngineFailedError(MoEEvalError):
    """An inference engine with processes of its own did not start, or died while it answered."""


class PluginLoadError(MoEEvalError):
    """An installed plugin of the group ``moe_eval_plugin`` could not be loaded."""
