"""Manifests and journals with any content are read, replaced or refused with one of our errors."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given

from moe_eval_plugin.measure.timing import BatchTiming
from moe_eval_plugin.sweep.manifest import MANIFEST, load_manifest
from moe_eval_plugin.sweep.plan import SweepPoint
from moe_eval_plugin.sweep.workers.journal import Answer, Batch, Journal
from tests.fuzz.mutations import as_json, changed_json, damaged_bytes, refused_or

DOCUMENT = json.loads(
    (Path(__file__).parents[1] / "data" / "before_0_2" / "sweep" / MANIFEST).read_text("utf-8")
)
IDENTITY = {"digest": "a1"}
POINTS = (SweepPoint("k8", "8", is_baseline=True), SweepPoint("k2", "2"))


def read(content: bytes) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / MANIFEST).write_bytes(content)
        manifest = refused_or(lambda: load_manifest(folder))
        if manifest is not None:
            manifest.take_points(POINTS)
            manifest.save()
            again = load_manifest(folder)
            assert again is not None
            assert again.to_dict() == json.loads(json.dumps(manifest.to_dict()))


@given(changed_json(DOCUMENT))
def test_any_values_of_a_manifest(document: object) -> None:
    read(as_json(document))


@given(damaged_bytes(as_json(DOCUMENT)))
def test_any_bytes_of_a_manifest(content: bytes) -> None:
    read(content)


def journal_bytes() -> bytes:
    with TemporaryDirectory() as name:
        journal = Journal(Path(name, "k8.jsonl"), IDENTITY)
        for index in range(2):
            timing = BatchTiming("easy_vqa", 1, 10, (2,), 1.5, 0.5, 0.75)
            journal.append(Batch((index,), (Answer("red", 10, 2),), timing, "a"))
        return Path(name, "k8.jsonl").read_bytes()


JOURNAL = journal_bytes()


def open_journal(content: bytes) -> None:
    """Open a journal, add a batch, and read that batch again."""
    with TemporaryDirectory() as name:
        path = Path(name, "k8.jsonl")
        path.write_bytes(content)
        added = Batch((7,), (Answer("no", 10, 2),), BatchTiming("t", 1, 10, (2,), 1.0), "b")
        Journal(path, IDENTITY).append(added)
        assert Journal(path, IDENTITY).batch((7,)) == added


@given(damaged_bytes(JOURNAL))
def test_any_bytes_of_a_journal(content: bytes) -> None:
    open_journal(content)


@given(changed_json([json.loads(line) for line in JOURNAL.splitlines()]))
def test_any_values_of_a_journal(lines: list[object]) -> None:
    open_journal(b"".join(as_json(line) + b"\n" for line in lines))
