"""Results and samples files with any content are read, or refused with one of our errors."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import given

from moe_eval_plugin.publish.exports.formats import find_exporter
from moe_eval_plugin.results.compare.compare import compare_runs
from moe_eval_plugin.results.files import find_run
from moe_eval_plugin.results.samples import read_task
from moe_eval_plugin.results.score_facts import collect
from tests.fuzz.mutations import Readers, as_json, changed_json, damaged_bytes

if TYPE_CHECKING:
    from moe_eval_plugin.results.run import Run

FOLDER = Path(__file__).parents[1] / "data" / "before_0_2" / "card" / "demo"
RESULTS = next(FOLDER.glob("*_results.json"))
SAMPLES = next(FOLDER.glob("*_samples_*.jsonl"))
DOCUMENT = json.loads(RESULTS.read_text("utf-8"))
LINES = [json.loads(line) for line in SAMPLES.read_text("utf-8").splitlines()[:4]]
HOST_FOLDER = Path(__file__).parents[1] / "data" / "lm_eval" / "hf"
HOST_RESULTS = next(HOST_FOLDER.glob("results_*.json"))
HOST_DOCUMENT = json.loads(HOST_RESULTS.read_text("utf-8"))
CHOICES, FILTERED, PROSE = (
    [json.loads(line) for line in next(HOST_FOLDER.glob(name)).read_text("utf-8").splitlines()]
    for name in ("samples_sums*", "samples_numbers*", "samples_prose*")
)
FORMATS = ("csv", "model-index", "hf-eval-results", "every-eval-ever")


def use(run: Run, readers: Readers) -> None:
    """Use a run in every way in which a command does."""
    readers.call(collect, [run])
    readers.call(compare_runs, run, run)
    for name in FORMATS:
        readers.call(find_exporter(name).export, [run], None)
    for task in run.tasks:
        readers.call(read_task, run, task)


def unreadable(results: bytes, samples: bytes) -> list[str]:
    """Read and use files; return the messages that no one can read."""
    readers = Readers()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / RESULTS.name).write_bytes(results)
        (folder / SAMPLES.name).write_bytes(samples)
        run = readers.call(find_run, folder)
        if run is not None:
            use(run, readers)
    return readers.unreadable


def unreadable_of_lm_eval(document: object, **samples: list[object]) -> list[str]:
    """Read and use files of lm-eval; return the messages that no one can read."""
    readers = Readers()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / HOST_RESULTS.name).write_bytes(as_json(document))
        for task, lines in samples.items():
            file = HOST_RESULTS.name.replace("results", f"samples_{task}") + "l"
            (folder / file).write_bytes(as_lines(lines))
        run = readers.call(find_run, folder)
        for task_run in run.tasks if run is not None else ():
            readers.call(read_task, run, task_run)
    return readers.unreadable


def as_lines(lines: list[object]) -> bytes:
    return b"".join(as_json(line) + b"\n" for line in lines)


@given(changed_json(DOCUMENT))
def test_any_values_of_results(document: object) -> None:
    assert unreadable(as_json(document), as_lines(LINES)) == []


@given(changed_json(LINES))
def test_any_values_of_samples(lines: list[object]) -> None:
    assert unreadable(as_json(DOCUMENT), as_lines(lines)) == []


@given(changed_json(HOST_DOCUMENT))
def test_any_values_of_results_of_lm_eval(document: object) -> None:
    assert unreadable_of_lm_eval(document, sums=CHOICES, numbers=FILTERED, prose=PROSE) == []


@given(changed_json(CHOICES), changed_json(FILTERED), changed_json(PROSE))
def test_any_values_of_samples_of_lm_eval(
    sums: list[object], numbers: list[object], prose: list[object]
) -> None:
    samples = {"sums": sums, "numbers": numbers, "prose": prose}
    assert unreadable_of_lm_eval(HOST_DOCUMENT, **samples) == []


@given(damaged_bytes(as_json(DOCUMENT)), damaged_bytes(as_lines(LINES)))
def test_any_bytes(results: bytes, samples: bytes) -> None:
    assert unreadable(results, as_lines(LINES)) == []
    assert unreadable(as_json(DOCUMENT), samples) == []
