"""The errors that this package raises on purpose, as a tree of classes.

::

    MoEEvalError
    ├── UserError
    │   ├── InvalidArgumentError
    │   ├── InvalidExpertCountError
    │   ├── NotAnMoEError
    │   ├── UnsupportedFamilyError
    │   ├── ModelNotFoundError
    │   ├── BrokenCheckpointError
    │   ├── CheckpointMismatchError
    │   ├── UnsafeCheckpointError
    │   ├── UnsupportedCheckpointError
    │   ├── InsufficientMemoryError
    │   ├── MissingDependencyError
    │   └── DataError
    │       ├── IncompleteRunError
    │       ├── UnreadableImageError
    │       └── UnansweredQuestionError
    ├── OverrideError
    │   ├── NoRouterFoundError
    │   └── OverrideNotEffectiveError
    ├── NotFiniteError
    ├── MeasurementError
    ├── EngineFailedError
    └── PluginLoadError

A command ends with exit code 2 for ``UserError`` and the classes below it, and with 3 for all
others. Catch ``MoEEvalError`` to catch all of them.
"""

from __future__ import annotations


class MoEEvalError(Exception):
    """The base class of all errors of this package. The exit code is 3."""

    exit_code = 3


class UserError(MoEEvalError):
    """The request is wrong. The message says what to change, and the exit code is 2."""

    exit_code = 2


class InvalidArgumentError(UserError):
    """An option or argument is unknown, or its value is not allowed."""


class InvalidExpertCountError(UserError):
    """This model cannot use the ``experts_k`` that was requested."""


class NotAnMoEError(UserError):
    """``experts_k`` was set for a dense model, which has no experts."""


class UnsupportedFamilyError(UserError):
    """The router of this model family cannot use another k. The message says why."""


class ModelNotFoundError(UserError):
    """``pretrained`` names no model on this disk or on the Hub."""


class BrokenCheckpointError(UserError):
    """Files of the checkpoint are missing, cut off, or in a format that cannot be loaded."""


class CheckpointMismatchError(UserError):
    """Weights in the checkpoint are missing, superfluous, or of another shape than the model's."""


class UnsafeCheckpointError(UserError):
    """A file of the checkpoint asks for code to be run, or refers to files outside its folder."""


class UnsupportedCheckpointError(UserError):
    """``moe-eval convert`` cannot represent the model of the checkpoint without changing it."""


class InsufficientMemoryError(UserError):
    """The model does not fit into the memory of this machine."""


class MissingDependencyError(UserError):
    """An optional package is not installed. The message names the extra to install."""


class DataError(UserError):
    """A data file is missing or broken, or contradicts another file."""


class UnreadableImageError(DataError):
    """An image cannot be decoded. The message is the reason, without the name of the image."""


class UnansweredQuestionError(DataError):
    """A question cannot be put to the model. The message names the question and says why."""


class OverrideError(MoEEvalError):
    """The model does not use the requested number of experts, so no result is reported."""


class MeasurementError(MoEEvalError):
    """Measurements of a run contradict each other, so none of its numbers is reported."""


class NotFiniteError(MoEEvalError):
    """The model computes NaN or infinity, so its answers are meaningless."""


class EngineFailedError(MoEEvalError):
    """An inference engine with processes of its own did not start, or died while it answered."""


class PluginLoadError(MoEEvalError):
    """An installed plugin could not be loaded. The message names it."""
