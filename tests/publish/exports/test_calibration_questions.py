"""Scores that count the questions a setting was chosen on are not published, and tables say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.plugins.manager import registered_exporters
from moe_eval_plugin.publish.exports.failures import IncompleteRunError
from moe_eval_plugin.results.files import read_run
from tests.report.report_runs import records, wrong_every
from tests.report.schedule_runs import SEARCHED, tuning_record, write_setting

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.results.run import Run

PUBLISHED = ("every-eval-ever", "hf-eval-results", "model-index")
SAID = "easy_vqa took part in choosing tuned-0.25"


def tuned_run(folder: Path, doc_ids: range, *, samples: bool = True) -> Run:
    tuning = tuning_record(doc_ids=doc_ids)
    return read_run(
        write_setting(
            folder,
            wrong_every(3),
            records(20),
            experts_k=SEARCHED,
            tuning=tuning,
            samples=samples,
        )
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_score_to_publish_is_refused_and_the_questions_listed(tmp_path: Path, name: str) -> None:
    export = registered_exporters()[name].export
    run = tuned_run(tmp_path / "some", range(18, 22))
    with pytest.raises(IncompleteRunError, match=f"2 of 20 questions of {SAID}") as caught:
        export([run, run], None)
    assert caught.value.faults == ("calibration 18", "calibration 19")
    unknown = tuned_run(tmp_path / "unknown", range(2), samples=False)
    with pytest.raises(IncompleteRunError, match="without samples it is not known which"):
        export([unknown], None)


def test_questions_of_another_split_or_not_asked_are_none(tmp_path: Path) -> None:
    run = tuned_run(tmp_path, range(20, 30))
    exported = registered_exporters()["model-index"].export([run], None)
    assert "tuned-0.25" not in " ".join(exported.notes)
    assert registered_exporters()["csv"].export([run], None).notes == ()


def test_csv_has_the_score_of_all_questions_and_says_so(tmp_path: Path) -> None:
    run = tuned_run(tmp_path, range(5))
    (note,) = registered_exporters()["csv"].export([run], None).notes
    assert note.endswith(f"5 of 20 questions of {SAID}. The score flatters this setting.")
