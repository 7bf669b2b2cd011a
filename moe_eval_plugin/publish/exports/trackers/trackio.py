"""Add a study to Trackio: a run for each setting, grouped, and one with the report.

The client reads its own settings: ``TRACKIO_DIR`` for its folder, ``TRACKIO_SPACE_ID`` for a Space.
``TRACKIO_PROJECT`` names the project.
"""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from moe_eval_plugin.files import write_files
from moe_eval_plugin.plugins.exporter import Exported
from moe_eval_plugin.publish.exports.trackers.study import PROJECT, REPORT, TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trackio.run import Run

    from moe_eval_plugin.publish.exports.trackers.study import Setting, Study


def send(study: Study) -> Exported:
    """Add the runs, then the report."""
    import trackio

    project = os.environ.get("TRACKIO_PROJECT", PROJECT)
    # The client prints a few lines for each run.
    with redirect_stdout(io.StringIO()):
        for run in study.runs:
            _started(study, project, run.name, run.config).log(run.metrics)
            trackio.finish()
        started = _started(study, project, REPORT, {})
        started.log({"table": trackio.Markdown(f"{study.caption}\n\n{study.files[TABLE]}")})
        with TemporaryDirectory() as folder:
            files = trackio.Artifact(REPORT, type=REPORT, description=study.caption)
            for path in write_files(study.files, Path(folder)):
                files.add_file(str(path))
            started.log_artifact(files)
        trackio.finish()
    note = (
        f"{len(study.runs)} runs and their report, group {study.group}. See them with `trackio "
        f'show --project "{project}"`.'
    )
    return Exported({}, (note, *study.notes))


def _started(study: Study, project: str, name: str, config: Mapping[str, Setting]) -> Run:
    import trackio

    return trackio.init(
        project=project,
        name=name,
        group=study.group,
        config=dict(config),
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
