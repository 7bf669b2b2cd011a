"""The journal of a point: whole batches, whatever a crash cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_eval_plugin.engines.request import Generated
from moe_eval_plugin.measure.timing import BatchTiming, PhaseTimes
from moe_eval_plugin.sweeps.workers.journal import Batch, Journal

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {"digest": "abc", "host": "here"}
PHASES = PhaseTimes(0.1, 0.2, 0.3, 0.25, 2)


def batch(*indices: int, text: str = "red", phases: PhaseTimes | None = PHASES) -> Batch:
    n = len(indices)
    timing = BatchTiming("easy_vqa", n, 10 * n, (2,) * n, 1.5, 0.5, 0.75, phases)
    return Batch(indices, tuple(Generated(text, 10, 2) for _ in indices), timing, "a")


def test_batches_read_back_as_they_were_measured(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "k4.jsonl"
    journal = Journal(path, IDENTITY)
    written = [batch(3, 1), batch(0, text="a\nb\u2028\u00e9"), batch(2, phases=None)]
    for one in written:
        journal.append(one)
    read = Journal(path, IDENTITY)
    assert [read.batch(one.indices) for one in written] == written
    assert len(read) == 3
    assert read.batch((1, 3)) is None


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_cut_loses_one_batch_at_most_and_writing_goes_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "k4.jsonl"
    journal = Journal(path, IDENTITY)
    sizes = []
    for index in range(3):
        journal.append(batch(index, text="x" * index))
        sizes.append(path.stat().st_size)
    n_bytes = data.draw(st.integers(0, sizes[-1]))
    path.write_bytes(path.read_bytes()[:n_bytes])
    journal = Journal(path, IDENTITY)
    whole = sum(size <= n_bytes for size in sizes)
    assert len(journal) == whole
    journal.append(batch(7))
    read = Journal(path, IDENTITY)
    assert len(read) == whole + 1
    assert read.batch((7,)) == batch(7)


@pytest.mark.parametrize("other", [{"digest": "abd"}, {"host": "there"}, {"more": "1"}])
def test_a_journal_of_something_else_is_begun_anew(tmp_path: Path, other: dict[str, str]) -> None:
    path = tmp_path / "k4.jsonl"
    Journal(path, IDENTITY).append(batch(0))
    journal = Journal(path, {**IDENTITY, **other})
    assert len(journal) == 0
    journal.append(batch(1))
    assert len(Journal(path, {**IDENTITY, **other})) == 1
    assert len(Journal(path, IDENTITY)) == 0


def test_a_batch_that_did_not_fit_is_known_by_its_first_part(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "k4.jsonl", IDENTITY)
    journal.append(batch(4, 5))
    assert journal.was_halved((4, 5, 6, 7))
    assert not journal.was_halved((4, 5))
    assert not journal.was_halved((6, 7, 4, 5))
