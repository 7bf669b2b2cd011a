"""Collect what the numbers of a sweep depend on: request, model, data and packages."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.answer_digest import folder_identity
from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.models.checkpoint import ask_hub, resolve
from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.hosts.lmms_eval.in_process import Host
    from moe_eval_plugin.sweep.plan import SweepPlan


def sweep_settings(plan: SweepPlan, options: EngineOptions, host: Host) -> dict[str, Any]:
    """Return what all points of a sweep have in common and their numbers depend on, by name."""
    return {
        **plan.own_settings(),
        **model_settings(options.pretrained, options.revision),
        **host.settings(),
        **version_settings(),
    }


def model_settings(pretrained: str, revision: str | None) -> dict[str, Any]:
    """Return the identity of the weights: the commit on the hub, or a digest of a folder."""
    name = resolve(pretrained)
    if is_folder(name):
        return folder_identity(Path(name))
    found = ask_hub(name, revision)
    return {"model revision": found.sha if found else revision}


def version_settings() -> dict[str, Any]:
    """Return the version of each package that a number depends on."""
    return {f"version of {name}": version for name, version in installed_versions().items()}


def machine() -> dict[str, str]:
    """Return the machine and its device: times of two machines must not be mixed in one point."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
    return {"host": platform.node(), "device": device, "machine": platform.machine()}
