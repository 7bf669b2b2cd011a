"""Collect what the numbers of a sweep depend on: request, model, data and packages."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.answer_digest import folder_identity, named_content
from moe_eval_plugin.files import short_digest
from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.models.checkpoint import ask_hub, resolve
from moe_eval_plugin.results.versions import installed_versions, versions_with
from moe_eval_plugin.sweeps.planning import NAMES_OF_MODELS, given_arguments

if TYPE_CHECKING:
    from moe_eval_plugin.engines.expert_request import ModelConfig
    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.sweeps.identity.data_content import DataContent
    from moe_eval_plugin.sweeps.plan import SweepPlan


def sweep_settings(
    plan: SweepPlan, checked: ModelConfig, host: LoadedTasks, data: DataContent
) -> dict[str, Any]:
    """Return what all points of a sweep have in common and their numbers depend on, by name."""
    return {
        **plan.own_settings(),
        "files of model_args": _files_of_arguments(plan),
        **model_settings(checked),
        **host.settings(),
        **{
            f"task {name}: data": data.digest(documents, plan.limit)
            for name, documents in host.documents().items()
        },
        **version_settings(plan.host),
    }


def model_settings(checked: ModelConfig) -> dict[str, Any]:
    """Return the identity of the weights: the commit on the hub, or a digest of a folder.

    Without a network it is the commit in the hub's cache, which the configuration was read from.
    """
    name = resolve(checked.pretrained)
    if is_folder(name):
        return dict(folder_identity(Path(name)))
    found = ask_hub(name, checked.revision)
    cached = getattr(checked.config, "_commit_hash", None)
    return {"model revision": found.sha if found else cached or checked.revision}


def _files_of_arguments(plan: SweepPlan) -> str:
    """Return a digest of the files that arguments of the model name, but for the checkpoint."""
    given = given_arguments(plan)
    named = {name: value for name, value in given.items() if name not in NAMES_OF_MODELS}
    return short_digest(named_content(named))


def version_settings(host: str) -> dict[str, Any]:
    """Return the version of each package that a number depends on."""
    versions = versions_with(host, installed_versions())
    return {f"version of {name}": version for name, version in versions.items()}


def machine() -> dict[str, str]:
    """Return the machine and its device: times of two machines must not be mixed in one point."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
    return {"host": platform.node(), "device": device, "machine": platform.machine()}
