"""Accuracy and speed of Mixture-of-Experts models at a verified number of active experts.

``import moe_eval_plugin as moe`` is cheap: each function loads what it needs when it is first used.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moe_eval_plugin.api.comparison import ComparedRuns, compare
    from moe_eval_plugin.api.experts import ExpertsInUse, experts_k
    from moe_eval_plugin.api.inspection import Inspection, inspect
    from moe_eval_plugin.api.runs import Sweep, load
    from moe_eval_plugin.api.setting import Setting
    from moe_eval_plugin.api.sweep import sweep
    from moe_eval_plugin.api.sweeping.progress import SweepProgress
    from moe_eval_plugin.api.table import Table
    from moe_eval_plugin.api.tuning import TunedSchedule, Tuning, load_tuning, tune
    from moe_eval_plugin.report.answer.answer import Answer

__all__ = [
    "Answer",
    "ComparedRuns",
    "ExpertsInUse",
    "Inspection",
    "Setting",
    "Sweep",
    "SweepProgress",
    "Table",
    "TunedSchedule",
    "Tuning",
    "compare",
    "experts_k",
    "inspect",
    "load",
    "load_tuning",
    "sweep",
    "tune",
]

_MODULES = {
    "Answer": "moe_eval_plugin.report.answer.answer",
    "ComparedRuns": "moe_eval_plugin.api.comparison",
    "ExpertsInUse": "moe_eval_plugin.api.experts",
    "Inspection": "moe_eval_plugin.api.inspection",
    "Setting": "moe_eval_plugin.api.setting",
    "Sweep": "moe_eval_plugin.api.runs",
    "SweepProgress": "moe_eval_plugin.api.sweeping.progress",
    "Table": "moe_eval_plugin.api.table",
    "TunedSchedule": "moe_eval_plugin.api.tuning",
    "Tuning": "moe_eval_plugin.api.tuning",
    "compare": "moe_eval_plugin.api.comparison",
    "experts_k": "moe_eval_plugin.api.experts",
    "inspect": "moe_eval_plugin.api.inspection",
    "load": "moe_eval_plugin.api.runs",
    "load_tuning": "moe_eval_plugin.api.tuning",
    "sweep": "moe_eval_plugin.api.sweep",
    "tune": "moe_eval_plugin.api.tuning",
}
_ROOT = Path(__file__).resolve().parent.parent
_MAPPED_FOLDERS = ("tasks", "model_adapters")

# In a checkout, tasks/ and model_adapters/ lie next to this folder and become sub-packages when
# the project is built. After a plain install, Python started in the checkout would import this
# folder without them, so the checkout is searched for them as well.
if (_ROOT / "pyproject.toml").is_file() and all(
    (_ROOT / name / "__init__.py").is_file() for name in _MAPPED_FOLDERS
):
    __path__.append(str(_ROOT))


def __getattr__(name: str) -> object:
    """Load a function or a type when it is first used."""
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """List the public names and those that are loaded."""
    return sorted({*__all__, *globals()})
