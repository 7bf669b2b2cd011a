"""What is said before a bundle is run: packages, machine and checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import ModelNotFoundError
from moe_eval_plugin.publish.bundle.contents import collect
from moe_eval_plugin.publish.bundle.environment import lock_text
from moe_eval_plugin.publish.bundle.pack import pack
from moe_eval_plugin.publish.bundle.unpack import Bundle, unpack
from moe_eval_plugin.publish.reproduce.preconditions import (
    EnvironmentDifferences,
    compare_environment,
    raise_if_no_checkpoint,
)
from moe_eval_plugin.publish.reproduce.text import render_before
from tests.publish.bundle.finished_sweeps import write_sweep
from tests.report.report_runs import write_run

if TYPE_CHECKING:
    from pathlib import Path


def bundle_of(run: Path, lock: str, folder: Path) -> Bundle:
    """Pack and unpack a run."""
    pack(collect(run, lock), lock, folder / "x.tar.gz")
    return unpack(folder / "x.tar.gz", folder / "bundle")


def test_the_environment_that_packed_does_not_differ(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 4)
    before = compare_environment(bundle_of(run, lock_text(), tmp_path))
    assert before == EnvironmentDifferences((), ())
    assert render_before(before) == "Packages and machine are equal to those of the bundle."


def test_another_version_and_another_machine_are_named(tmp_path: Path) -> None:
    lock = lock_text().replace("lmms-eval==0.7.3", "lmms-eval==0.7.2")
    before = compare_environment(bundle_of(write_sweep(tmp_path / "sweep"), lock, tmp_path))
    assert before.packages == ("lmms-eval: 0.7.2 -> 0.7.3",)
    assert any(line.startswith("name: a processor -> ") for line in before.machine)
    text = render_before(before)
    assert "lmms-eval: 0.7.2 -> 0.7.3" in text
    assert "The machine differs" in text


def test_the_copy_of_a_checkpoint_is_compared_and_missed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", "utf-8")
    run = write_run(tmp_path / "run", 4, pretrained=str(model))
    bundle = bundle_of(run, lock_text(), tmp_path)
    assert compare_environment(bundle).checkpoint == ()
    copy = model.rename(tmp_path / "copy")
    assert "pass its path with --pretrained" in compare_environment(bundle).checkpoint[0]
    with pytest.raises(ModelNotFoundError, match="pass its path with --pretrained"):
        raise_if_no_checkpoint(bundle, None)
    raise_if_no_checkpoint(bundle, str(copy))
    assert compare_environment(bundle, str(copy)).checkpoint == ()
    (copy / "config.json").write_text("{ }", "utf-8")
    (fault,) = compare_environment(bundle, str(copy)).checkpoint
    assert fault == f"{copy / 'config.json'} is not the file of the original run"
    assert "The checkpoint differs" in render_before(compare_environment(bundle, str(copy)))
