"""Write tables: CSV with all facts for programs, Markdown for readers.

One row for each score of each task of each run. CSV has a column for each fact, numbers as they
were stored, and mappings as JSON. Markdown rounds, and has a second table with settings and
sources, because one table would be too wide to read.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING

from moe_eval_plugin.plugins.exporter import Exported, Exporter
from moe_eval_plugin.publish.exports.failures import faults_of, n_failed, notes_on
from moe_eval_plugin.results.score_facts import ScoreFacts, as_text, collect
from moe_eval_plugin.text import csv_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.results.run import Run

CSV_FILE = "results.csv"
MARKDOWN_FILE = "results.md"
# Answers that are messages about failed requests, which a score counts as wrong.
N_FAILED = "n_failed"
DECIMALS = 4
MARKUP = re.compile(r"[\\`*\[\]<&~$]|(?<![^\W_])_|_(?![^\W_])")


def export_csv(runs: Sequence[Run], task: str | None) -> Exported:
    """Return all facts of each score as CSV; an empty cell is not known."""
    facts, faults = collect(runs, task), faults_of(runs, task)
    rows = [
        [*map(_plain, asdict(one).values()), n_failed(faults, one.run, one.task)] for one in facts
    ]
    text = csv_text([[field.name for field in fields(ScoreFacts)] + [N_FAILED], *rows])
    return Exported({CSV_FILE: text}, tuple(notes_on(runs, task, faults)))


def export_markdown(runs: Sequence[Run], task: str | None) -> Exported:
    """Return two tables: the scores, then the settings and sources of each run."""
    facts, faults = collect(runs, task), faults_of(runs, task)
    origins = list(dict.fromkeys((one.run, one.task) for one in facts))
    numbers = {origin: number for number, origin in enumerate(origins, start=1)}
    first = {number: one for one in reversed(facts) if (number := numbers[one.run, one.task])}
    scores = [{"run": numbers[one.run, one.task], **_score_row(one)} for one in facts]
    settings = [
        {
            "run": number,
            **_setting_row(first[number]),
            "failed requests": as_text(n_failed(faults, *origin)),
        }
        for origin, number in numbers.items()
    ]
    text = f"{_table(scores)}\n{_table(settings)}"
    return Exported({MARKDOWN_FILE: text}, tuple(notes_on(runs, task, faults)))


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return value.isoformat() if isinstance(value, datetime) else value


def _score_row(facts: ScoreFacts) -> dict[str, str]:
    return {
        "task": facts.task,
        "setting": facts.setting,
        "k": as_text(facts.num_experts_per_tok),
        "observed k": as_text(facts.observed_num_experts_per_tok),
        "baseline k": as_text(facts.baseline_num_experts_per_tok),
        "metric": facts.metric,
        "value": _rounded(facts.value),
        "stderr": _rounded(facts.stderr),
        "n": as_text(facts.n),
        "scoring": as_text(facts.scoring),
    }


def _setting_row(facts: ScoreFacts) -> dict[str, str]:
    return {
        "task": facts.task,
        "model": facts.model,
        "model revision": as_text(facts.model_revision),
        "backend": facts.backend,
        "data": as_text(facts.data_origin or facts.dataset),
        "data revision": as_text(facts.data_revision) or as_text(dict(facts.data_sha256)),
        "answers": as_text(facts.answer_set),
        "questions": as_text(facts.n_questions),
        "speed": _speed_text(facts),
        "answers from a cache": as_text(facts.n_answers_from_cache),
        "date": facts.date.isoformat() if facts.date else "",
        "settings": as_text(dict(facts.settings)),
        "versions": as_text(dict(facts.versions)),
    }


def _speed_text(facts: ScoreFacts) -> str:
    """Return questions per second and the speed-up, with what they are of."""
    rate = facts.task_samples_per_s if facts.samples_per_s is None else facts.samples_per_s
    if rate is None:
        return ""
    batch = f", batch size {facts.timed_batch_size}" if facts.timed_batch_size else ""
    text = f"{rate:.4g} questions/s ({facts.speed_from}{batch})"
    if facts.speed_up is None:
        return text
    has_interval = facts.speed_up_low is not None and facts.speed_up_high is not None
    interval = f"({facts.speed_up_low:.2f} to {facts.speed_up_high:.2f})" if has_interval else ""
    return f"{text}, speed-up {facts.speed_up:.2f}× {interval or '(timed once)'}"


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.{DECIMALS}f}"


def _table(rows: Sequence[dict[str, object]]) -> str:
    """Return rows as a Markdown table; the library escapes pipes."""
    from pytablewriter import MarkdownTableWriter
    from pytablewriter.typehint import String

    writer = MarkdownTableWriter(
        headers=list(rows[0]),
        value_matrix=[[_literal(str(cell)) for cell in row.values()] for row in rows],
        type_hints=[String for _ in rows[0]],
        dequote=False,
        margin=1,
    )
    return str(writer.dumps())


def _literal(text: str) -> str:
    """Return text with Markdown markup escaped; underscores within words are no markup."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


EXPORTERS = (
    Exporter("csv", f"{CSV_FILE}, with all facts of each score", export_csv),
    Exporter("markdown", f"{MARKDOWN_FILE}, rounded tables for a report", export_markdown),
)
