"""A task of lm-eval on a data set of the Hub, or on a copy of the data set on this disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datasets
from lm_eval.api.task import ConfigurableTask

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.shared.hub_data import HubData, missing_text
from moe_eval_plugin.models.checkpoint import network_errors
from moe_eval_plugin.text import one_line
from moe_eval_plugin.vqa.dataset import DATA_VARIABLE, data_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class HubTask(ConfigurableTask):
    """A task whose data are read from the folder of ``MOE_EVAL_DATA``, else from the Hub.

    ``dataset_path`` and ``dataset_name`` name the data set on the Hub either way. The metadata of
    the task say where its data came from.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    def download(self, dataset_kwargs: Mapping[str, Any] | None = None, **_: object) -> None:  # noqa: ARG002  (the host's signature)
        """Load the data; the host calls this once, when it builds the task."""
        config = self.config
        data = HubData(config.task, config.dataset_path, config.dataset_name)
        needed = {config.training_split, config.validation_split, config.test_split} - {None}
        with user_errors():
            folder = data_folder()
            self.dataset = _from_hub(data) if folder is None else _from_disk(data, folder, needed)
        origin = f"hub: {data.dataset}" if folder is None else f"files: {data.dataset}"
        config.metadata = {**config.metadata, "origin": origin}


def _from_disk(data: HubData, folder: Path, needed: set[str]) -> datasets.DatasetDict:
    files = data.files(folder)
    if not files:
        raise DataError(missing_text([data], folder))
    lacking = sorted(needed - files.keys())
    if lacking:
        message = (
            f"The copy of {data.dataset} in {folder} has no Parquet file of {', '.join(lacking)}, "
            f"which {data.task} needs; it has {', '.join(files)}. Copy the whole data set, or "
            f"unset {DATA_VARIABLE} to use the Hub."
        )
        raise DataError(message)
    try:
        return datasets.load_dataset("parquet", data_files={one: files[one] for one in needed})
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        message = (
            f"The copy of {data.dataset} in {folder} cannot be read: {_cause(error)}. Download "
            "the data set again."
        )
        raise DataError(message) from error


def _from_hub(data: HubData) -> datasets.DatasetDict:
    failures = (OSError, ValueError, datasets.exceptions.DatasetsError, *network_errors())
    try:
        return datasets.load_dataset(data.dataset, data.configuration)
    except failures as error:
        raise DataError(missing_text([data], None, _cause(error))) from error


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error)}".rstrip(".")
