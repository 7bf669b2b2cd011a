"""The first line of a series: how much was asked, and on what it ran."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.series import FinishedTask

# The library that runs the model, by the name of its adapter.
ENGINES = {"moe_hf": "transformers", "moe_vllm": "vllm"}
OURS = "moe-eval-plugin"
ON_THE_PAGE_ALONE = ("versions", "date")


def facts_line(numbers: SeriesStatistics) -> str:
    """Return the questions, images, machine, batch size, data type and backend of a series."""
    limit = limit_badge(numbers)
    facts = run_facts(numbers).items()
    shown = [text for name, text in facts if name not in ON_THE_PAGE_ALONE]
    return " · ".join([*shown, *([limit] if limit else [])])


def run_facts(numbers: SeriesStatistics) -> dict[str, str]:
    """Return what a series was run with, by name, in the order to show."""
    return dict(_facts(numbers))


def limit_badge(numbers: SeriesStatistics) -> str | None:
    """Return that a part of the questions was asked; ``None`` where all were."""
    one = _reference(numbers)
    run, n = one.point.first, one.n_questions
    whole = run.facts.n_questions
    if run.run.limit is None or whole is None or n is None or n >= whole:
        return None
    return f"limited to {n:,} of {counted(whole, 'question')}"


def _facts(numbers: SeriesStatistics) -> Iterator[tuple[str, str]]:
    one = _reference(numbers)
    run, sizes = one.point.first, [timed.batch_size for timed in numbers.series.passes]
    if one.n_questions is not None:
        yield "questions", _questions(one)
    setup = run.setup
    if machine := _machine(run):
        yield "machine", machine
    if setup.batch_size is not None:
        timed = f" (timed at {', '.join(map(str, sizes))})" if sizes != [setup.batch_size] else ""
        yield "batch size", f"batch size {setup.batch_size}{timed if sizes else ''}"
    if setup.dtype is not None:
        yield "data type", setup.dtype
    yield "backend", run.facts.backend
    engine = ENGINES.get(run.facts.backend, "")
    known = {engine: engine, OURS: "moe-eval"}
    versions = [
        f"{name} {setup.versions[package]}"
        for package, name in known.items()
        if setup.versions.get(package)
    ]
    if versions:
        yield "versions", " · ".join(versions)
    if run.facts.date is not None:
        # The host writes dates in a time zone of its own, so that a run may seem to be of tomorrow.
        date = run.facts.date.astimezone(UTC)
        yield "date", f"{date.day} {date:%b %Y}"


def _reference(numbers: SeriesStatistics) -> PointStatistics:
    return next((one for one in numbers.points if one.point.is_baseline), numbers.points[0])


def _machine(run: FinishedTask) -> str | None:
    """Return the device, how many of them, and the threads of a CPU."""
    machine = run.setup.machine
    if machine is None or machine.name is None:
        return run.setup.device
    n = f"{machine.n_devices} × " if (machine.n_devices or 1) > 1 else ""
    threads = f" ({counted(machine.threads, 'thread')})" if machine.threads else ""
    return f"{n}{machine.name}{threads if machine.kind == 'cpu' else ''}"


def _questions(one: PointStatistics) -> str:
    """Return the number of questions and images."""
    images = f" on {counted(one.n_images, 'image')}" if one.n_images else ""
    return f"{counted(one.n_questions or 0, 'question')}{images}"
