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


class MeasurementError(MoEEvalError):
    """What was measured contradicts itself, so no number of this run can be believed."""


class CheckpointMismatchError(MoEEvalError):
    """Weights of the model are missing from its checkpoint, left over, or of another shape."""


class EngineFailedError(MoEEvalError):
    """An inference engine with processes of its own did not start, or died while it answered."""


class PluginLoadError(MoEEvalError):
    """An installed plugin of the group ``moe_eval_plugin`` could not be loaded."""
