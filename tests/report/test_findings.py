from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.findings import findings
from tests.report.report_runs import computed, write_run, wrong_every

if TYPE_CHECKING:
    from pathlib import Path


def test_the_summary_names_what_was_lost_and_what_cannot_be_told(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    write_run(tmp_path / "k4", 4, wrong_every(40), rate=20)
    write_run(tmp_path / "k1", 1, wrong_every(2), rate=30)

    found = list(findings(computed(tmp_path, 3.0)))
    text = "\n".join(one.text for one in found)

    assert "Loses accuracy: k=1 (-50.00 points)." in text
    assert "Loses more than 3 points: k=1." in text
    assert "Too few questions to tell: k=4 (-2.50 points)." in text
    assert "Fastest within 3 points: k=4. It is 2.00× as fast as k=8 and loses 2.50 points" in text
    assert "but 40 questions cannot rule out a loss of more than 3 points (about" in text
    assert next(one.detail for one in found if "Loses accuracy" in one.text).startswith("5% level")


def test_a_setting_that_is_shown_to_lose_little_is_recommended(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8)
    write_run(tmp_path / "k4", 4, wrong_every(40), rate=20)

    text = "\n".join(one.text for one in findings(computed(tmp_path, 20.0)))

    assert "No loss found: k=4 (-2.50 points)." in text
    assert "Recommended: k=4. It is 2.00× as fast as k=8 and loses 2.50 points (95%" in text
    assert "less than the 20 points you allow." in text


def test_without_a_faster_setting_none_is_recommended(tmp_path: Path) -> None:
    write_run(tmp_path / "k8", 8, rate=20)
    write_run(tmp_path / "k4", 4, rate=10)

    text = "\n".join(one.text for one in findings(computed(tmp_path, 1.0)))

    assert "No setting is faster than k=8 and loses at most 1 point." in text
    assert "Recommended" not in text
