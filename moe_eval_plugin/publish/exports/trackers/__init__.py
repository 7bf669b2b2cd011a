"""Send results to experiment trackers, through their own clients: one exporter for each.

A client is imported, and contacts its server, only when its format is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.plugins.exporter import Exported, Exporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.results.run import Run


def _to_wandb(runs: Sequence[Run], task: str | None) -> Exported:
    from moe_eval_plugin.publish.exports.trackers.study import study_of
    from moe_eval_plugin.publish.exports.trackers.wandb import send

    return send(study_of(runs, task, "wandb"))


def _to_trackio(runs: Sequence[Run], task: str | None) -> Exported:
    from moe_eval_plugin.publish.exports.trackers.study import study_of
    from moe_eval_plugin.publish.exports.trackers.trackio import send

    return send(study_of(runs, task, "trackio"))


def _to_mlflow(runs: Sequence[Run], task: str | None) -> Exported:
    from moe_eval_plugin.publish.exports.trackers.mlflow import send
    from moe_eval_plugin.publish.exports.trackers.study import study_of

    return send(study_of(runs, task, "mlflow"))


EXPORTERS = (
    Exporter("wandb", "sends a run for each k to Weights & Biases; WANDB_MODE=offline", _to_wandb),
    Exporter("trackio", "adds a run for each k to Trackio, by default on this disk", _to_trackio),
    Exporter("mlflow", "sends a run for each k to MLflow, by default into mlruns", _to_mlflow),
)
