"""A timed pass: what it says of a setting, and its file when it is whole, cut off or damaged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.measure.hardware_use import HardwareUse, PeakMemory
from moe_eval_plugin.measure.machine_load import MachineLoad
from moe_eval_plugin.measure.timing import BatchTiming, PhaseTimes
from moe_eval_plugin.results.timing.timed_pass import (
    TimedBlock,
    TimedPass,
    pass_path,
    read_timed_passes,
)
from tests.results.timing.timed_files import BATCH_SIZE, around, timed_pass, write_timed_pass

if TYPE_CHECKING:
    from pathlib import Path

PASS = timed_pass({"k8": around(2.0), "k4": around(1.0)})


def test_a_pass_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    phases = PhaseTimes(0.1, 0.2, 0.3, None, 3)
    batch = BatchTiming("easy_vqa", 4, 100, (1, 2, 3, 4), 1.0, 0.1, 0.8, phases)
    block = TimedBlock(
        order=("k4", "k8"),
        batches={"k8": (batch, batch), "k4": (batch,)},
        load=MachineLoad(2, load_average=1.5, steal_share=0.1),
        hardware={"k8": HardwareUse(PeakMemory(1, 2, 3), 4.5), "k4": HardwareUse()},
    )
    found = replace(PASS, blocks=(*PASS.blocks, block), ended_by="budget", identity={"a": [1]})
    path = write_timed_pass(tmp_path, found)
    assert path == pass_path(tmp_path, found)
    assert read_timed_passes(tmp_path) == [found]


def test_a_folder_without_a_timed_pass_has_none(tmp_path: Path) -> None:
    assert read_timed_passes(tmp_path) == []


def test_passes_are_sorted_by_task_and_batch_size(tmp_path: Path) -> None:
    for task, size in (("b", 2), ("a", 16), ("a", 2)):
        write_timed_pass(tmp_path, timed_pass({"k8": [1.0]}, task, size))
    found = [(one.task, one.batch_size) for one in read_timed_passes(tmp_path)]
    assert found == [("a", 2), ("a", 16), ("b", 2)]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = write_timed_pass(tmp_path, PASS)
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    path.write_bytes(content[:-1])
    assert read_timed_passes(tmp_path) == [replace(PASS, ended_by=None)]
    path.write_bytes(content[: -len(lines[-1]) - 5])
    assert read_timed_passes(tmp_path) == [replace(PASS, blocks=PASS.blocks[:-1], ended_by=None)]
    path.write_bytes(lines[0][:9])
    assert read_timed_passes(tmp_path) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], b"{\n", *lines[1:]],
        lambda lines: [lines[0], b"7\n", *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0].replace(b'"schema_version": 1', b'"schema_version": 9')],
        lambda lines: [lines[0], b'{"order": ["k8"]}\n'],
    ],
)
def test_other_damage_is_an_error(tmp_path: Path, damage: object) -> None:
    path = write_timed_pass(tmp_path, PASS)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(damage(lines)))  # type: ignore[operator]
    with pytest.raises(DataError, match=path.name):
        read_timed_passes(tmp_path)


def test_the_warm_up_is_in_no_number() -> None:
    speed = PASS.speed("k4")
    assert speed is not None
    assert speed.n_samples == 8 * BATCH_SIZE
    assert speed.wall_s == pytest.approx(sum(around(1.0)))
    speed_up, of_model = PASS.speed_up("k4"), PASS.model_speed_up("k4")
    assert speed_up is not None
    assert of_model is not None
    assert (speed_up.ratio, speed_up.n_pairs) == (2, 8)
    assert speed_up.ratio_of_totals == pytest.approx(2)
    assert of_model.ratio == pytest.approx(2)


def test_before_a_block_is_counted_nothing_is_known() -> None:
    begun = replace(PASS, blocks=PASS.blocks[:1])
    assert (begun.speed_up("k4"), begun.speed("k4")) == (None, None)
    assert begun.hardware("k4") == HardwareUse()


def test_the_hardware_is_the_largest_memory_and_all_energy() -> None:
    def with_use(block: TimedBlock, n_bytes: int, joules: float | None) -> TimedBlock:
        return replace(block, hardware={"k4": HardwareUse(PeakMemory(None, None, n_bytes), joules)})

    _, first, second, *_ = PASS.blocks
    blocks = (with_use(first, 5, 1.0), with_use(second, 3, 2.0))
    assert replace(PASS, blocks=blocks).hardware("k4") == HardwareUse(PeakMemory(None, None, 5), 3)
    partly = (*blocks, with_use(first, 1, None))
    assert replace(PASS, blocks=partly).hardware("k4").joules is None


def test_the_name_of_a_task_is_no_path() -> None:
    found = pass_path_of(replace(PASS, task="a/b c"))
    assert found == f"a-b-c-b{BATCH_SIZE}.jsonl"


def pass_path_of(one: TimedPass) -> str:
    from pathlib import Path

    return pass_path(Path(), one).name
