"""Write what a paper takes from a report into a folder: all files, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.files import write_all
from moe_eval_plugin.report.charts.over_k import over_k_figures
from moe_eval_plugin.report.charts.trade_off.figure import main_chart
from moe_eval_plugin.report.charts.trade_off.price_view import price_view
from moe_eval_plugin.report.paper.caption import caption, table_caption
from moe_eval_plugin.report.paper.citation import bibliography
from moe_eval_plugin.report.paper.figures import draw
from moe_eval_plugin.report.paper.latex import as_latex
from moe_eval_plugin.report.paper.table import make_paper_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics
    from moe_eval_plugin.report.charts.base import Figure

TABLE, CAPTION, CITATIONS = "table.tex", "caption.txt", "cite.bib"
TRADE_OFF, OVER_K, PRICE = "trade-off", "accuracy-over-k", "accuracy-at-price"
MARK = "% Written by moe-eval report --paper."
LABEL = "tab:moe-eval"


def paper_files(series: Sequence[SeriesStatistics]) -> dict[str, bytes]:
    """Return the files of a paper by their names: table, figures, caption and citations."""
    table = as_latex(make_paper_table(series), table_caption(series), LABEL)
    texts = {
        TABLE: f"{MARK}\n{table}",
        CAPTION: caption(series),
        CITATIONS: f"{MARK}\n{bibliography(series)}",
    }
    return {**{name: text.encode() for name, text in texts.items()}, **_figures(series)}


def check_paper_folder(folder: Path, *, force: bool = False) -> None:
    """Raise ``InvalidArgumentError`` if a folder has files that this command did not write.

    A folder whose table this command wrote is written again.
    """
    if force or not folder.is_dir() or _is_ours(folder / TABLE):
        return
    names = sorted(one.name for one in folder.iterdir() if _is_like_ours(one))
    if names:
        message = (
            f"--paper {folder} has {', '.join(names)}, which moe-eval did not write. Add --force "
            "to overwrite them, or pass another folder."
        )
        raise InvalidArgumentError(message)


def write_paper(files: dict[str, bytes], folder: Path) -> list[Path]:
    """Write the files, all of them or none, and return their paths.

    Raises ``DataError`` if they cannot be written.
    """
    content = {folder / name: data for name, data in files.items()}
    try:
        # The table comes last: where it is, the rest is too.
        write_all(dict(reversed(content.items())), folder)
    except OSError as error:
        message = f"{folder} cannot be written: {error}. Pass another folder with --paper."
        raise DataError(message) from error
    return list(content)


def _figures(series: Sequence[SeriesStatistics]) -> dict[str, bytes]:
    tasks: dict[str, list[SeriesStatistics]] = {}
    for one in series:
        tasks.setdefault(one.series.task, []).append(one)
    return {
        f"{name}-{figure.name}{end}" if len(tasks) > 1 else f"{figure.name}{end}": data
        for name, task in tasks.items()
        for figure in _of_task(task)
        for end, data in draw(figure).items()
    }


def _of_task(task: Sequence[SeriesStatistics]) -> Iterator[Figure]:
    """Yield what each setting costs and gains, of each series, and the accuracies of all.

    These are at each k, and of series with a schedule or a policy at each price.
    """
    for one in task:
        margin = f"{one.margin * one.scale:g}"
        letter = f"-{one.series.id}" if len(task) > 1 else ""
        found = main_chart({margin: one}, margin, f"{TRADE_OFF}{letter}")
        if found is not None:
            yield found.figure
        at_price = price_view(one, f"{PRICE}{letter}")
        if at_price is not None:
            yield at_price
    yield from (one for one in over_k_figures(task) if one.name == OVER_K)


def _is_ours(table: Path) -> bool:
    try:
        return table.read_text("utf-8").startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False


def _is_like_ours(path: Path) -> bool:
    is_ours = path.stem.endswith(OVER_K) or any(name in path.stem for name in (TRADE_OFF, PRICE))
    return (is_ours and path.suffix in (".pdf", ".svg")) or path.name in (TABLE, CAPTION, CITATIONS)
