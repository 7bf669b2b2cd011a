from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.findings import sentences
from tests.report.report_runs import computed, write_run, wrong_every

if TYPE_CHECKING:
    from pathlib import Path


def test_the_summary_names_what_was_lost_and_what_cannot_be_told(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    write_run(tmp_path / "k4", 4, wrong_every(40), rate=20)
    write_run(tmp_path / "k1", 1, wrong_every(2), rate=30)

    text = "\n".join(sentences(computed(tmp_path, 3.0)))

    assert "Significantly below the baseline (5%, Holm): k=1 (-50.00 points)" in text
    assert "No significant loss: k=4 (-2.50 points)" in text
    assert "Whether k=4 is within 3 points of the baseline cannot be told from 40 questions" in text
    assert "The fastest setting that loses at most 3 points is k=4, 2.00 times as fast" in text
    assert "is not certain with these questions" in text
