"""The first line of a series: how much was asked, and on what it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics


def facts_line(numbers: SeriesStatistics) -> str:
    """Return the questions, images, batch size, backend, data type and machine of a series."""
    return " · ".join(_facts(numbers))


def _facts(numbers: SeriesStatistics) -> Iterator[str]:
    one = next((one for one in numbers.points if one.point.is_baseline), numbers.points[0])
    run, sizes = one.point.first, [timed.batch_size for timed in numbers.series.passes]
    if one.n_questions is not None:
        yield _questions(one)
    setup, machine = run.setup, run.setup.machine
    if setup.batch_size is not None:
        timed = f" (timed at {', '.join(map(str, sizes))})" if sizes != [setup.batch_size] else ""
        yield f"batch size {setup.batch_size}{timed if sizes else ''}"
    yield run.facts.backend
    if setup.dtype is not None:
        yield setup.dtype
    if machine is not None and machine.name is not None:
        n = f"{machine.n_devices} × " if (machine.n_devices or 1) > 1 else ""
        threads = f" ({counted(machine.threads, 'thread')})" if machine.threads else ""
        yield f"{n}{machine.name}{threads if machine.kind == 'cpu' else ''}"
    elif setup.device is not None:
        yield setup.device


def _questions(one: PointStatistics) -> str:
    """Return the number of questions and images, and of how many where there was a limit."""
    n, run = one.n_questions or 0, one.point.first
    images = f" on {counted(one.n_images, 'image')}" if one.n_images else ""
    whole = run.facts.n_questions
    if run.run.limit is not None and whole is not None and n < whole:
        return f"limited to {n:,} of {counted(whole, 'question')}{images}"
    return f"{counted(n, 'question')}{images}"
