"""The file of a timed pass: what is kept of an earlier process, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.results.timing.timed_pass import pass_path, read_timed_passes
from moe_eval_plugin.sweeps.timing.pass_file import PassFile, stored_pass
from tests.results.timing.timed_files import timed_pass

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.results.timing.timed_pass import TimedPass

WHOLE = timed_pass({"k8": [2.0, 2.1, 2.2], "k4": [1.0, 1.1, 1.2]})
EMPTY = replace(WHOLE, blocks=(), ended_by=None)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The folder of a sweep with a pass that has ended."""
    file = PassFile(tmp_path, EMPTY)
    for block in WHOLE.blocks:
        file.append(block)
    file.end("precision")
    return tmp_path


def test_a_pass_is_read_back_as_it_was_timed(stored: Path) -> None:
    assert read_timed_passes(stored) == [WHOLE]
    assert PassFile(stored, EMPTY).found == WHOLE


def test_a_line_that_was_cut_off_is_dropped_and_the_next_one_follows(stored: Path) -> None:
    path = pass_path(stored, EMPTY)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]) + lines[-2][:-20])
    file = PassFile(stored, EMPTY)
    assert file.found.blocks == WHOLE.blocks[:-1]
    assert file.found.ended_by is None
    file.append(WHOLE.blocks[-1])
    file.end("precision")
    assert read_timed_passes(stored) == [WHOLE]


@pytest.mark.parametrize("kept_bytes", [0, 10])
def test_a_file_that_was_cut_off_in_its_first_line_is_begun_again(
    stored: Path, kept_bytes: int
) -> None:
    path = pass_path(stored, EMPTY)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    assert PassFile(stored, EMPTY).found == EMPTY
    assert read_timed_passes(stored) == [EMPTY]


def test_a_damaged_file_is_begun_again(stored: Path) -> None:
    path = pass_path(stored, EMPTY)
    path.write_bytes(b"{}\n" + path.read_bytes())
    assert stored_pass(path) is None
    assert PassFile(stored, EMPTY).found == EMPTY


@pytest.mark.parametrize(
    "other",
    [
        replace(EMPTY, identity={"digest": "b"}),
        replace(EMPTY, sample=(7,)),
        replace(EMPTY, settings=("k8", "k4", "k2")),
        replace(EMPTY, seed=1),
    ],
)
def test_blocks_of_another_pass_are_not_kept(stored: Path, other: TimedPass) -> None:
    assert PassFile(stored, other).found == other


@pytest.mark.parametrize("changed", [{"precision": 0.01}, {"budget_s": 600.0}])
def test_a_pass_goes_on_when_it_is_to_end_later(stored: Path, changed: dict[str, float]) -> None:
    later = replace(EMPTY, **changed)  # type: ignore[arg-type]
    assert PassFile(stored, later).found == replace(later, blocks=WHOLE.blocks)
    assert read_timed_passes(stored) == [replace(later, blocks=WHOLE.blocks)]
