"""Send a study to Weights & Biases: a run for each setting, grouped, and one with the report.

The client reads its own settings: ``WANDB_PROJECT``, ``WANDB_ENTITY``, ``WANDB_MODE=offline``.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.files import write_files
from moe_eval_plugin.plugins.exporter import Exported
from moe_eval_plugin.publish.exports.trackers.study import PROJECT, REPORT
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    import wandb

    from moe_eval_plugin.publish.exports.trackers.study import Setting, Study


def send(study: Study) -> Exported:
    """Send the runs, then the report; raises ``DataError`` if the client refuses."""
    import wandb

    try:
        for run in study.runs:
            with _started(study, run.name, run.config, "setting") as started:
                started.summary.update(run.metrics)
        with _started(study, REPORT, {}, REPORT) as started, TemporaryDirectory() as folder:
            files = wandb.Artifact(f"{REPORT}-{started.id}", type=REPORT, description=study.caption)
            for path in write_files(study.files, Path(folder)):
                files.add_file(str(path))
            started.log_artifact(files)
            where = Path(started.dir).parents[1] if started.offline else started.url
    except wandb.Error as error:
        message = (
            f"Weights & Biases did not take the runs: {one_line(error)}. Run `wandb login`, or "
            "set WANDB_MODE=offline and send them later with `wandb sync`."
        )
        raise DataError(message) from error
    note = f"{len(study.runs)} runs and their report, group {study.group}: {where}"
    return Exported({}, (note, *study.notes))


def _started(study: Study, name: str, config: Mapping[str, Setting], kind: str) -> wandb.Run:
    import wandb

    return wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        group=study.group,
        name=name,
        job_type=kind,
        notes=study.caption,
        config=dict(config),
        # It would print its own progress, and write down what this process prints and does.
        settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
    )
