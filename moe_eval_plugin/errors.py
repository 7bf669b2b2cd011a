"""Error tree of this package: the base classes and the errors that need no other module.

::

    MoEEvalError                        exit code 3
    ├── UserError                       exit code 2, shown without a traceback
    │   ├── InvalidArgumentError        an unknown option, or a value that an option cannot take
    │   ├── InvalidExpertCountError     an experts_k that this model cannot use
    │   ├── NotAnMoEError               experts_k was set for a dense model
    │   ├── UnsupportedFamilyError      the router of this family cannot change its k
    │   ├── ModelNotFoundError          there is no such model on disk or on the hub
    │   ├── BrokenCheckpointError       files of the checkpoint are missing or cut off
    │   ├── CheckpointMismatchError     the weights on disk are not those of the model
    │   ├── UnsafeCheckpointError       a checkpoint names code, or files outside of its folder
    │   ├── UnsupportedCheckpointError  the model of a checkpoint has no faithful conversion
    │   ├── InsufficientMemoryError     the model does not fit into this machine
    │   ├── MissingDependencyError      an optional package is not installed
    │   └── DataError                   a data file is missing, broken or inconsistent
    │       ├── IncompleteRunError      a run lacks answers that an export needs
    │       ├── UnreadableImageError    an image cannot be decoded; the message is the reason alone
    │       └── UnansweredQuestionError a question cannot be put to the model
    ├── OverrideError                   the requested k is not the k that the model uses
    │   ├── NoRouterFoundError          no location of k in the model could be set
    │   └── OverrideNotEffectiveError   tokens used another number of experts
    ├── NotFiniteError                  the model computes NaN or infinity
    ├── MeasurementError                a time or a count is wrong, so it is not reported
    ├── EngineFailedError               an inference engine did not start, or died while it ran
    └── PluginLoadError                 an installed plugin could not be loaded

A message states what failed, the value, the allowed values, and the next command.
"""

from __future__ import annotations


class MoEEvalError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code = 3


class UserError(MoEEvalError):
    """The request cannot be served; the message states how to correct it."""

    exit_code = 2


class InvalidArgumentError(UserError):
    """An option is unknown, or its value is not allowed."""


class InvalidExpertCountError(UserError):
    """``experts_k`` is not a number of experts that this model can use."""


class NotAnMoEError(UserError):
    """``experts_k`` was set for a model without experts."""


class UnsupportedFamilyError(UserError):
    """The router of this model family cannot use another k; the message states why."""


class ModelNotFoundError(UserError):
    """``pretrained`` is not a model on this disk or on the hub."""


class BrokenCheckpointError(UserError):
    """Files of the checkpoint are missing, cut off, or of a form that cannot be loaded."""


class CheckpointMismatchError(UserError):
    """Weights of the model are missing from its checkpoint, left over, or of another shape."""


class UnsafeCheckpointError(UserError):
    """A file of a checkpoint names code to run, or refers to files outside of its folder."""


class UnsupportedCheckpointError(UserError):
    """No layout of a conversion can represent the model of a checkpoint without changing it."""


class InsufficientMemoryError(UserError):
    """The weights are larger than the memory of this machine."""


class MissingDependencyError(UserError):
    """An optional package is needed and not installed; the message names the extra to install."""


class DataError(UserError):
    """A data file is missing, broken or inconsistent with another one."""


class UnreadableImageError(DataError):
    """An image cannot be decoded. The message is the reason; who reads the image adds its name."""


class UnansweredQuestionError(DataError):
    """A question cannot be put to the model; the message names it, and says why."""


class OverrideError(MoEEvalError):
    """The number of experts that the model uses is not the requested one."""


class MeasurementError(MoEEvalError):
    """The measurements of a run contradict each other, so none of its numbers is reported."""


class NotFiniteError(MoEEvalError):
    """The model computes NaN or infinity, so its answers mean nothing."""


class EngineFailedError(MoEEvalError):
    """An inference engine with its own processes did not start, or died while it answered."""


class PluginLoadError(MoEEvalError):
    """An installed plugin of the group ``moe_eval_plugin`` could not be loaded."""
