"""Iterations are found, and files do not lead out of their folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.conversion.torch_dist.folder import find_iteration, inside, iteration_number
from moe_eval_plugin.errors import (
    BrokenCheckpointError,
    InvalidArgumentError,
    UnsafeCheckpointError,
)
from tests.conversion.checkpoints import copy, iteration_of

if TYPE_CHECKING:
    from pathlib import Path


def test_the_latest_iteration_of_a_run_is_found(run: Path) -> None:
    found = find_iteration(run)
    assert (found, iteration_number(found)) == (run / "iter_0000100", 100)
    assert find_iteration(found) == find_iteration(run, 100) == find_iteration(found, 100) == found


def test_a_release_is_found(run: Path, tmp_path: Path) -> None:
    released = copy(run, tmp_path / "run")
    iteration_of(released).rename(released / "release")
    (released / "latest_checkpointed_iteration.txt").write_text("release\n")
    found = find_iteration(released)
    assert (found.name, iteration_number(found)) == ("release", None)


def test_what_is_not_there_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"0000007 is not there\. .* has iter_0000100"):
        find_iteration(run, 7)
    with pytest.raises(InvalidArgumentError, match="is not iteration 7"):
        find_iteration(iteration_of(run), 7)
    with pytest.raises(InvalidArgumentError, match="is not a folder"):
        find_iteration(tmp_path / "none")
    with pytest.raises(InvalidArgumentError, match="no iter_ folder with a checkpoint"):
        find_iteration(tmp_path)


def test_a_folder_of_another_kind_is_explained(tmp_path: Path) -> None:
    model, cut = tmp_path / "model", tmp_path / "iter_0000100"
    for folder, file in ((model, "config.json"), (cut, "common.pt")):
        folder.mkdir()
        (folder / file).touch()
    with pytest.raises(InvalidArgumentError, match="needs no conversion"):
        find_iteration(model)
    with pytest.raises(InvalidArgumentError, match=r"\.metadata is not there, so .* no checkpoint"):
        find_iteration(cut)


@pytest.mark.parametrize("content", ["../../etc", "-1", "", "1e3", "\u0661"])
def test_a_tracker_that_is_no_number_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "latest_checkpointed_iteration.txt").write_text(content, "utf-8")
    with pytest.raises(BrokenCheckpointError, match="not the number of an iteration"):
        find_iteration(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder, outside = tmp_path / "iter_1", tmp_path / "outside"
    folder.mkdir()
    outside.write_text("private")
    (folder / "link").symlink_to(outside)
    (folder / "own").write_text("x")
    (folder / "linked").symlink_to("own")
    with pytest.raises(UnsafeCheckpointError, match="'link', which is not in this folder"):
        inside(folder, "link")
    assert inside(folder, "linked").read_text() == "x"


def test_links_of_the_hubs_cache_lead_to_its_blobs_alone(tmp_path: Path) -> None:
    cache = tmp_path / "models--CMU-FLAME--x"
    folder = cache / "snapshots" / "abc" / "iter_1"
    folder.mkdir(parents=True)
    (cache / "blobs").mkdir()
    (cache / "blobs" / "1234").write_text("weights")
    (cache / "other").write_text("private")
    (folder / "stored").symlink_to("../../../blobs/1234")
    (folder / "link").symlink_to("../../../other")
    assert inside(folder, "stored").read_text() == "weights"
    with pytest.raises(UnsafeCheckpointError):
        inside(folder, "link")
