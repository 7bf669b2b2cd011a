"""Read traces, and how they were collected: of a study, of a folder, or those of FLAME-MoE."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.routing.files import is_trace, read_trace
from moe_eval_plugin.routing.published_traces import read_flame_traces
from moe_eval_plugin.routing.sources import Collection, Source
from moe_eval_plugin.routing.study_folder import OTHER_TRACES, STUDY, TRACES, is_study

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.prompts.progress import Progress


def read_source(folder: Path, progress: Progress | None = None, *, against: bool = False) -> Source:
    """Return the trace of a folder: a study, a folder of traces, or traces of FLAME-MoE.

    Of a study, its trace is read, or with ``against`` the one that it was compared with, if any.
    Raises ``DataError`` for a folder without traces.
    """
    if not folder.is_dir():
        message = f"{folder} is no folder. Name the folder of a study, or one with traces."
        raise DataError(message)
    if is_study(folder):
        return _of_study(folder, against=against)
    if is_study(folder.parent) and folder.name in (TRACES, OTHER_TRACES):
        return _of_study(folder.parent, against=folder.name == OTHER_TRACES)
    if is_trace(folder):
        return Source(read_trace(folder), Collection())
    return Source(read_flame_traces(folder, progress=progress), Collection())


def _of_study(folder: Path, *, against: bool) -> Source:
    content = JsonObject(json.loads((folder / STUDY).read_text("utf-8")), str(folder / STUDY))
    records = content.items("sources")
    is_other = against and len(records) > 1
    record = records[1 if is_other else 0].item("collection") if records else None
    texts = content.mapping("vocabulary")
    return Source(
        read_trace(folder / (OTHER_TRACES if is_other else TRACES)),
        Collection.from_dict(record) if record else Collection(),
        {int(number): str(text) for number, text in texts.items() if number.isdecimal()},
    )
