"""Write all facts as CSV, for programs.

There is a row for each score of each task of each run, and a column for each fact: numbers as they
were stored, and mappings as JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING

from moe_eval_plugin.plugins.exporter import Exported, Exporter
from moe_eval_plugin.publish.exports.calibration_questions import notes_on_chosen
from moe_eval_plugin.publish.exports.failures import faults_of, n_failed, notes_on
from moe_eval_plugin.results.score_facts import ScoreFacts, collect
from moe_eval_plugin.text import csv_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.results.run import Run

CSV_FILE = "results.csv"
# Answers that are messages about failed requests, which a score counts as wrong.
N_FAILED = "n_failed"


def export_csv(runs: Sequence[Run], task: str | None) -> Exported:
    """Return all facts of each score as CSV; an empty cell is not known."""
    facts, faults = collect(runs, task), faults_of(runs, task)
    rows = [
        [*map(_plain, asdict(one).values()), n_failed(faults, one.run, one.task)] for one in facts
    ]
    text = csv_text([[field.name for field in fields(ScoreFacts)] + [N_FAILED], *rows])
    notes = (*notes_on(runs, task, faults), *notes_on_chosen(runs, task))
    return Exported({CSV_FILE: text}, notes)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return value.isoformat() if isinstance(value, datetime) else value


EXPORTERS = (Exporter("csv", f"{CSV_FILE}, with all facts of each score", export_csv),)
