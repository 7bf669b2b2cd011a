from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.sweeps.plan import SweepPlan
from moe_eval_plugin.sweeps.workers.batch_size import default_batch_size, found_batch_size
from moe_eval_plugin.sweeps.workers.child_process import ChildProcessWorker
from tests.publish.bundle.finished_sweeps import change, in_record, results_of, write_sweep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def halved(tmp_path: Path) -> Path:
    """A sweep whose published k took 8 questions at once, and a later one only 4."""
    write_sweep(tmp_path)
    for name, size in (("k8", 8), ("k2", 4)):

        def take(record: dict[str, Any], size: int = size) -> None:
            record["provenance"]["batch_size"] = size

        change(results_of(tmp_path, name), in_record(take))
    return tmp_path


def test_the_size_of_the_first_setting_is_that_of_all(halved: Path) -> None:
    assert found_batch_size(halved) == 8
    results_of(halved, "k8").unlink()
    assert found_batch_size(halved) == 4
    assert found_batch_size(halved / "new") is None


def test_our_models_find_their_batch_size_and_others_are_asked_one_by_one() -> None:
    assert [default_batch_size(name) for name in ("moe_hf", "moe_vllm", "qwen3_vl")] == [
        "auto",
        "auto",
        "1",
    ]


@pytest.mark.parametrize(
    ("model", "model_args", "batch_size", "expected"),
    [
        ("moe_hf", "", "auto", "max_batch_size=8"),
        ("moe_hf", "pretrained=demo", "auto", "pretrained=demo,max_batch_size=8"),
        ("moe_hf", "max_batch_size=2", "auto", "max_batch_size=2"),
        ("moe_hf", "pretrained=demo", "16", "pretrained=demo"),
        ("moe_vllm", "pretrained=demo", "auto", "pretrained=demo"),
    ],
)
def test_a_process_of_its_own_takes_no_more_than_the_first_setting(
    halved: Path, model: str, model_args: str, batch_size: str, expected: str
) -> None:
    plan = SweepPlan(model, model_args, ("easy_vqa",), (), batch_size=batch_size)
    assert ChildProcessWorker(plan, halved)._plan().model_args == expected
    assert ChildProcessWorker(plan, halved / "new")._plan() == plan
