"""Manifests and journals with any content are read, replaced or refused with one of our errors."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given

from moe_eval_plugin.engines.request import Generated
from moe_eval_plugin.measure.timing import BatchTiming
from moe_eval_plugin.sweeps.manifest import MANIFEST, load_manifest
from moe_eval_plugin.sweeps.plan import SweepPoint
from moe_eval_plugin.sweeps.workers.journal import Batch, Journal
from tests.fuzz.mutations import Readers, as_json, changed_json, damaged_bytes

DOCUMENT = json.loads(
    (Path(__file__).parents[1] / "data" / "before_0_2" / "sweep" / MANIFEST).read_text("utf-8")
)
IDENTITY = {"digest": "a1"}
POINTS = (SweepPoint("k8", "8", is_baseline=True), SweepPoint("k2", "2"))


def saved_and_read(content: bytes) -> tuple[object, object]:
    """Return a manifest as it is saved and as it is read again.

    For one that is refused: the messages that no one can read, and none.
    """
    readers = Readers()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / MANIFEST).write_bytes(content)
        manifest = readers.call(load_manifest, folder)
        if manifest is None:
            return readers.unreadable, []
        manifest.take_points(POINTS)
        manifest.save()
        again = load_manifest(folder)
    return json.loads(json.dumps(manifest.to_dict())), again and again.to_dict()


@given(changed_json(DOCUMENT))
def test_any_values_of_a_manifest(document: object) -> None:
    saved, found = saved_and_read(as_json(document))

    assert found == saved


@given(damaged_bytes(as_json(DOCUMENT)))
def test_any_bytes_of_a_manifest(content: bytes) -> None:
    saved, found = saved_and_read(content)

    assert found == saved


def journal_bytes() -> bytes:
    with TemporaryDirectory() as name:
        journal = Journal(Path(name, "k8.jsonl"), IDENTITY)
        for index in range(2):
            timing = BatchTiming("easy_vqa", 1, 10, (2,), 1.5, 0.5, 0.75)
            journal.append(Batch((index,), (Generated("red", 10, 2),), timing, "a"))
        return Path(name, "k8.jsonl").read_bytes()


JOURNAL = journal_bytes()


ADDED = Batch((7,), (Generated("no", 10, 2),), BatchTiming("t", 1, 10, (2,), 1.0), "b")


def added_and_read(content: bytes) -> Batch | None:
    """Open a journal, add a batch, and return that batch as it is read again."""
    with TemporaryDirectory() as name:
        path = Path(name, "k8.jsonl")
        path.write_bytes(content)
        Journal(path, IDENTITY).append(ADDED)
        return Journal(path, IDENTITY).batch(ADDED.indices)


@given(damaged_bytes(JOURNAL))
def test_any_bytes_of_a_journal(content: bytes) -> None:
    assert added_and_read(content) == ADDED


@given(changed_json([json.loads(line) for line in JOURNAL.splitlines()]))
def test_any_values_of_a_journal(lines: list[object]) -> None:
    content = b"".join(as_json(line) + b"\n" for line in lines)

    assert added_and_read(content) == ADDED
