"""What the letters of several series stand for: only what distinguishes them is listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics


def key_table(found: Sequence[SeriesStatistics]) -> tuple[tuple[str, ...], ...]:
    """Return the rows of the key, the first with headings; none for a single series."""
    names = list(dict.fromkeys(one.series.short for one in found if one.series.id))
    if not names:
        return ()
    facts = {
        name: [dict(_facts(one)) for one in found if one.series.short == name] for name in names
    }
    headings = list(dict.fromkeys(key for own in facts.values() for one in own for key in one))
    columns = {
        heading: [_joined([one.get(heading, "") for one in facts[name]]) for name in names]
        for heading in headings
    }
    differ = [heading for heading in headings if len(set(columns[heading])) > 1]
    rows = zip(names, *(columns[heading] for heading in differ), strict=True)
    return (("", *differ), *rows)


def shared_questions(found: Sequence[SeriesStatistics]) -> tuple[str, ...]:
    """Return how many questions series of one task share, where they asked different ones."""
    return tuple(_shared(found))


def _shared(found: Sequence[SeriesStatistics]) -> Iterator[str]:
    asked = {id(one): set(one.points[0].questions.scores) for one in found}
    for number, one in enumerate(found):
        for other in found[number + 1 :]:
            own, others = asked[id(one)], asked[id(other)]
            is_one_task = one.series.task == other.series.task
            if is_one_task and own and others and own != others:
                names = f"{one.series.short} and {other.series.short}"
                yield (
                    f"{names} share {counted(len(own & others), 'question')} of {one.series.task}, "
                    f"of {len(own):,} and {len(others):,}: compare each with its own published k, "
                    "and not one with the other."
                )


def _joined(texts: Sequence[str]) -> str:
    """Return the values of the tasks of a series, each once."""
    return " / ".join(dict.fromkeys(text for text in texts if text))


def _facts(numbers: SeriesStatistics) -> Iterator[tuple[str, str]]:
    """Yield what is known of a series, by heading."""
    one = numbers.points[0]
    run, setup = one.point.first, one.point.first.setup
    yield "Model", run.facts.model
    yield "Task", numbers.series.task
    known: dict[str, object] = {
        "Revision": run.facts.model_revision,
        "Questions": None if one.n_questions is None else f"{one.n_questions:,}",
        "Backend": run.facts.backend,
        "Batch size": setup.batch_size,
        "Data type": setup.dtype,
        "Machine": (setup.machine.name if setup.machine else None) or setup.device,
        "Processes": setup.n_ranks,
        "Experts": setup.experts_implementation,
        "Inputs": "prepared beforehand" if setup.inputs else None,
        "Date": run.facts.date.date().isoformat() if run.facts.date else None,
    }
    for heading, value in known.items():
        if value is not None:
            yield heading, str(value)
