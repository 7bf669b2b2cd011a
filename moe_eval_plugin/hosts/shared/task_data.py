"""Check whether the data of our tasks can be had, before a model is loaded for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.hosts.shared.hub_data import HubData, check_hub_data
from moe_eval_plugin.models.checkpoint import HUB_TIMEOUT_S, cache_folder, network_errors
from moe_eval_plugin.text import one_line
from moe_eval_plugin.vqa.dataset import data_folder
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES, locate, not_loaded_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def check_data(definitions: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Raise ``DataError`` for a task of ours whose data are neither here nor on the Hub.

    ``definitions`` are those of tasks of either host, by name. With ``MOE_EVAL_DATA`` the official
    files must be in that folder. Otherwise the Hub is asked once, unless its cache has the data
    set. Tasks with other data are left to the host.
    """
    folder = data_folder()
    all_definitions = list(definitions)
    of_hub = (HubData.of_definition(task, definition) for task, definition in all_definitions)
    check_hub_data(one for one in of_hub if one)
    for task, definition in all_definitions:
        source = (definition.get("dataset_kwargs") or {}).get("source", "")
        if source not in OFFICIAL_FILES:
            continue
        if folder is not None:
            locate(source, folder)
        else:
            _check_hub(task, definition["dataset_path"], source)


def _check_hub(task: str, dataset: str, source: str) -> None:
    from huggingface_hub import HfApi, constants

    downloaded = cache_folder() / f"datasets--{dataset.replace('/', '--')}"
    prepared = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME, "datasets")
    is_local_folder = Path(dataset).is_dir()
    in_cache = Path(prepared, dataset.lower().replace("/", "___")).is_dir()
    if downloaded.is_dir() or in_cache or is_local_folder:
        return
    try:
        HfApi().dataset_info(dataset, timeout=HUB_TIMEOUT_S)
    except network_errors() as error:
        raise DataError(not_loaded_text(task, dataset, source, one_line(error))) from error
