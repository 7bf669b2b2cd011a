"""Send a study to MLflow: a run for the study with the report, and one for each setting in it.

The client reads its own settings: ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``. Without a
server the runs are files in the folder ``mlruns``.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.plugins.exporter import Exported
from moe_eval_plugin.publish.exports.trackers.study import PROJECT
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from moe_eval_plugin.publish.exports.trackers.study import Study

FOLDER = "mlruns"
LONGEST_VALUE = 6000


def send(study: Study) -> Exported:
    """Send the run of the study, and one for each setting; raises ``DataError`` if refused."""
    # Nothing is sent but to the tracking server, unless the user wants it.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Files are what the light client can write without a server.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    if "MLFLOW_TRACKING_URI" not in os.environ and find_spec("sqlalchemy") is None:
        mlflow.set_tracking_uri(Path(FOLDER).absolute().as_uri())
    try:
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        with mlflow.start_run(run_name=study.group, description=study.caption):
            for name, text in study.files.items():
                mlflow.log_text(text, name)
            for run in study.runs:
                with mlflow.start_run(run_name=run.name, nested=True):
                    config = {key: str(value)[:LONGEST_VALUE] for key, value in run.config.items()}
                    mlflow.log_params(config)
                    mlflow.log_metrics(run.metrics)
    except MlflowException as error:
        message = (
            f"MLflow did not take the runs: {one_line(error)}. Check MLFLOW_TRACKING_URI, or unset "
            f"it to write into the folder {FOLDER}."
        )
        raise DataError(message) from error
    note = (
        f"{len(study.runs)} runs and their report, in the run {study.group}: "
        f"{mlflow.get_tracking_uri()}"
    )
    return Exported({}, (note, *study.notes))
