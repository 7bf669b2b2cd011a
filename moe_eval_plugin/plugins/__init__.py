"""The plugin API: everything that a plugin imports, from one place."""

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.verification import VerifiedOverride
from moe_eval_plugin.measure.timing import BatchTiming
from moe_eval_plugin.plugins.accelerator import Accelerator
from moe_eval_plugin.plugins.events import BatchEnd, RunEnd, RunStart
from moe_eval_plugin.plugins.exporter import Exported, Exporter
from moe_eval_plugin.plugins.family import Family, Proof
from moe_eval_plugin.plugins.hookspecs import hookimpl
from moe_eval_plugin.plugins.policy import LayerChoice, Policy, PolicyParameter
from moe_eval_plugin.plugins.policy_calibration import (
    CalibrationBatch,
    MeasuredPolicy,
    PolicyCalibration,
)
from moe_eval_plugin.results.record import Metric, RunRecord
from moe_eval_plugin.results.run import Run, TaskRun

__all__ = [
    "Accelerator",
    "BatchEnd",
    "BatchTiming",
    "CalibrationBatch",
    "DataError",
    "Exported",
    "Exporter",
    "Family",
    "LayerChoice",
    "MeasuredPolicy",
    "Metric",
    "Policy",
    "PolicyCalibration",
    "PolicyParameter",
    "Proof",
    "Run",
    "RunEnd",
    "RunRecord",
    "RunStart",
    "TaskRun",
    "VerifiedOverride",
    "hookimpl",
]
