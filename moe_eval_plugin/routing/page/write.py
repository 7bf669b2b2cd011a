"""Write the files of a routing study: its traces, tables and charts, the study, and the page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.report.charts.files import drawn
from moe_eval_plugin.routing.files import write_trace
from moe_eval_plugin.routing.page.page import build_page
from moe_eval_plugin.routing.page.provenance import Provenance
from moe_eval_plugin.routing.page.study_tables import study_tables
from moe_eval_plugin.routing.page.vocabulary import Vocabulary, read_vocabulary, shown_tokens
from moe_eval_plugin.routing.statistics.study import study
from moe_eval_plugin.routing.study_folder import (
    KIND,
    OTHER_TRACES,
    PAGE,
    PLOTS,
    SCHEMA_VERSION,
    STATISTICS,
    STUDY,
    TRACES,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.routing.page.first_screen import FirstScreen
    from moe_eval_plugin.routing.page.page import RoutingPage
    from moe_eval_plugin.routing.sources import Source
    from moe_eval_plugin.routing.statistics.tables import RoutingStudy

# In routing.json they would be most of the file; coactivation.parquet has them.
MATRICES = ("conditional", "lift")


@dataclass(frozen=True)
class Tokenizer:
    """Where the texts of tokens come from."""

    source: str | None = None
    """A folder or model with a tokenizer; ``None`` for that of the trace's model, if there is."""
    trust_remote_code: bool = False
    """Whether code that comes with the tokenizer may run."""


def write_study(
    folder: Path,
    sources: tuple[Source, ...],
    command: str,
    progress: Progress,
    tokenizer: Tokenizer | None = None,
) -> FirstScreen:
    """Write a study of a trace, or of two of them, into an empty folder; return what was found.

    ``sources`` has the trace and, if there is one, the trace to compare it with. Raises ``OSError``
    if something cannot be written, and ``DataError`` for traces that cannot be compared, or without
    the tokenizer that is named.
    """
    first, *others = sources
    found = study(first.trace, others[0].trace if others else None, progress=progress)
    progress.doing("reading the tokenizer")
    vocabulary = _vocabulary(first, found, tokenizer or Tokenizer())
    progress.doing("writing traces and tables")
    for source, name in zip(sources, (TRACES, OTHER_TRACES), strict=False):
        write_trace(source.trace, folder / name)
    _write(folder / STATISTICS, study_tables(found, vocabulary))
    content = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "version": version("moe-eval-plugin"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "sources": [
            source.to_dict(name)
            for source, name in zip(sources, (TRACES, OTHER_TRACES), strict=False)
        ],
        "vocabulary": {str(number): text for number, text in vocabulary.texts.items()},
        "study": _plain_study(found),
    }
    (folder / STUDY).write_text(_json(content), "utf-8")
    progress.doing("filling in the page")
    provenance = Provenance(found.tasks, found.n_questions, found.n_tokens, sources, command)
    page = build_page(found, vocabulary, provenance)
    (folder / PAGE).write_text(page.html, "utf-8")
    _draw(folder / PLOTS, page, progress)
    return page.screen


def _vocabulary(source: Source, found: RoutingStudy, tokenizer: Tokenizer) -> Vocabulary:
    """Return the texts of the tokens that are shown: known ones, or those of the tokenizer."""
    wanted = shown_tokens(found)
    if not wanted:
        return Vocabulary()
    if tokenizer.source is None and all(number in source.texts for number in wanted):
        return Vocabulary({number: source.texts[number] for number in wanted})
    trace = source.trace
    name, revision = tokenizer.source or trace.model, None if tokenizer.source else trace.revision
    try:
        return read_vocabulary(
            name, revision, wanted, trust_remote_code=tokenizer.trust_remote_code
        )
    except DataError:
        if tokenizer.source is not None:
            raise
        reason = f"The tokenizer of {name} is not on this machine, so tokens have numbers."
        return Vocabulary(reason=reason)


def _plain_study(found: RoutingStudy) -> dict[str, Any]:
    content = found.to_dict()
    for layer in content["layers"]:
        pairs = layer["coactivation"]
        if pairs is not None:
            layer["coactivation"] = {
                name: value for name, value in pairs.items() if name not in MATRICES
            }
    return content


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)


def _draw(folder: Path, page: RoutingPage, progress: Progress) -> None:
    """Write the charts as SVG and PNG; maps as SVG alone, which holds an image already."""
    n_charts = len(page.figures) + len(page.maps)
    progress.counting("drawing the charts as files", n_charts, "charts")
    for figure in page.figures:
        _write(folder, dict(drawn(figure)))
        progress.advance()
    for heat_map in page.maps:
        _write(folder, dict(islice(drawn(heat_map.figure), 1)))
        progress.advance()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
