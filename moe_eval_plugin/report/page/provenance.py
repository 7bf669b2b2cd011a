"""List where numbers come from: models, data, code, machines, and commands to repeat them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.harness import harness
from moe_eval_plugin.text import as_text, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.report.series import FinishedTask, Series

HARDWARE = {
    "name": "{}",
    "n_devices": "devices: {}",
    "threads": "threads: {}",
    "driver": "driver {}",
    "power_limit_watts": "at most {} W",
}
SETTINGS = {
    "dtype": "Data type",
    "device": "Device",
    "batch_size": "Batch size",
    "n_ranks": "Processes",
    "experts_implementation": "Experts implementation",
    "attn_implementation": "Attention implementation",
    "seed": "Seed",
    "system_prompt": "System prompt",
    "warnings": "Warnings",
}
LONGEST_HASH = 16


@dataclass(frozen=True)
class Origin:
    """Where the numbers of a series come from."""

    name: str
    """The series and its task."""
    shared: tuple[tuple[str, str], ...]
    """Names and values that all runs share."""
    runs: tuple[tuple[str, tuple[tuple[str, str], ...], str], ...]
    """For each run its setting, the other names and values, and the command that repeats it."""


def origin_of(series: Series) -> Origin:
    """Return where the numbers of a series come from."""
    runs = [(point.label, run) for point in series.points for run in point.runs]
    facts = [dict(_facts(run)) for _, run in runs]
    names = list(dict.fromkeys(name for known in facts for name in known))
    shared = [name for name in names if len({known.get(name) for known in facts}) == 1]
    return Origin(
        name=f"{series.name}: {series.task}",
        shared=(*((name, facts[0][name]) for name in shared), *_timed_passes(series)),
        runs=tuple(
            (
                label,
                tuple((name, known[name]) for name in known if name not in shared),
                command(run),
            )
            for (label, run), known in zip(runs, facts, strict=True)
        ),
    )


def _timed_passes(series: Series) -> Iterator[tuple[str, str]]:
    """Yield how each timed pass was made."""
    for one in series.passes:
        end = f", ended by {one.ended_by}" if one.ended_by else ", not ended"
        text = (
            f"{counted(one.n_questions, 'question')} timed of {len(one.sample):,} chosen with seed "
            f"{one.seed}, {one.method}, "
            f"{counted(len(one.counted), 'block')} counted, precision {one.precision:g}, budget "
            f"{one.budget_s:g} s{end}"
        )
        yield f"Timed pass, batch size {one.batch_size}", text


def command(run: FinishedTask) -> str:
    """Return the host's command that repeats a run; empty where its options are not known."""
    if not run.run.options.get("model"):
        return ""
    tool = harness(run.run.host)
    return tool.settings_of(run.run, log_samples=run.task.samples is not None).shell_text(
        "repeated"
    )


def _facts(run: FinishedTask) -> Iterator[tuple[str, str]]:
    """Yield names and values, as text, where they are known."""
    for name, value in _values(run):
        if value not in (None, "", [], {}):
            yield name, as_text(value) if isinstance(value, dict) else _plain(value)


def _values(run: FinishedTask) -> Iterator[tuple[str, Any]]:
    facts, setup = run.facts, run.setup
    yield "Model", facts.model
    yield "Model revision", facts.model_revision
    yield "Backend", facts.backend
    yield "Requested setting", facts.setting
    yield "Published k", facts.baseline_num_experts_per_tok
    yield "Observed k", facts.observed_num_experts_per_tok
    known = {name: getattr(setup.machine, name, None) for name in HARDWARE}
    machine = [HARDWARE[name].format(value) for name, value in known.items() if value]
    yield "Machine", ", ".join(machine)
    for name, text in SETTINGS.items():
        yield text, setup.values.get(name)
    yield "Data", facts.data_origin or facts.dataset
    yield "Data revision", facts.data_revision
    yield "Data files (SHA-256)", _short_hashes(facts.data_sha256)
    yield "Split", facts.split
    yield "Questions of the split", facts.n_questions
    yield "Questions asked", facts.n
    yield "Answers from a cache, whose k was not observed", facts.n_answers_from_cache
    yield "Scoring", facts.scoring
    yield "Answer set", facts.answer_set
    yield "Versions", facts.versions
    yield f"Version that {run.run.host} reports", run.run.host_version
    yield "Git revision of the working folder", run.run.code_revision
    yield "Date", facts.date.isoformat() if facts.date else run.run.date_text
    yield "Results file", run.run.path.name


def _short_hashes(hashes: Mapping[str, str]) -> dict[str, str]:
    return {name: f"{digest[:LONGEST_HASH]}…" for name, digest in hashes.items()}


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)
