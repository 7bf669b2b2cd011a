from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.report.report_runs import computed, write_run, wrong_every

if TYPE_CHECKING:
    from pathlib import Path


def test_seconds_per_correct_answer_count_right_answers_alone(tmp_path: Path) -> None:
    write_run(tmp_path, 8, wrong_every(4), rate=10)

    (point,) = computed(tmp_path).points

    assert point.seconds_per_correct == pytest.approx(40 / 10 / 30)
    assert point.joules_per_correct is None
