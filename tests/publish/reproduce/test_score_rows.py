from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.publish.reproduce.agreement import AGREES, NOT_JUDGED
from moe_eval_plugin.publish.reproduce.text import render_agreement
from tests.publish.bundle.finished_sweeps import change, in_record, results_of, write_sweep
from tests.publish.reproduce.compared_sweeps import as_mean, compared, differing, row, verdict
from tests.report.report_runs import TASK, right, wrong_every

if TYPE_CHECKING:
    from pathlib import Path


def test_a_changed_score_differs(original: Path, tmp_path: Path) -> None:
    worse = write_sweep(tmp_path / "worse", {8: right, 2: wrong_every(2)})
    agreement = compared(original, worse)
    assert not agreement.agrees
    assert differing(agreement) == [("k2", "exact_match")]
    found = row(agreement, "k2", "exact_match")
    assert (found.original, found.again) == (0.75, 0.5)
    assert found.interval is not None
    assert found.interval.high < 0
    assert "does not contain 0" in found.reason
    text = render_agreement(agreement)
    assert "NOT REPRODUCED: accuracy" in text
    assert "Accuracy: not reproduced: k=2 exact_match." in text


def test_an_answer_that_changed_by_chance_is_within_the_interval(
    original: Path, tmp_path: Path
) -> None:
    def noisy(number: int, record: Any) -> str:
        return "wrong" if number == 5 else wrong_every(4)(number, record)

    agreement = compared(original, write_sweep(tmp_path / "noisy", {8: right, 2: noisy}))
    assert agreement.agrees
    found = row(agreement, "k2", "exact_match")
    assert (found.original, found.again, found.verdict) == (0.75, 0.725, AGREES)
    assert verdict(agreement, "k2", "equal answers") == NOT_JUDGED
    assert row(agreement, "k2", "equal answers").again == 0.975


def test_a_number_that_its_own_samples_do_not_give_differs(original: Path, again: Path) -> None:
    def better(content: dict[str, Any]) -> None:
        content["results"][TASK]["exact_match,none"] = 0.8

    for path in (results_of(original, "k2"), results_of(again, "k2")):
        change(path, as_mean)
    assert compared(original, again).agrees
    change(results_of(original, "k2"), better)
    agreement = compared(original, again)
    assert differing(agreement) == [("k2", "exact_match")]
    assert "has 0.800000, and its own samples give 0.750000" in (
        row(agreement, "k2", "exact_match").reason
    )


def test_without_samples_only_the_same_number_agrees(original: Path, again: Path) -> None:
    for path in again.rglob("*.jsonl"):
        path.unlink()
    assert verdict(compared(original, again), "k2", "exact_match") == AGREES

    def worse(content: dict[str, Any]) -> None:
        content["results"][TASK]["exact_match,none"] = 0.7

    change(results_of(again, "k2"), worse)
    for folder in (original, again):
        change(
            results_of(folder, "k2"),
            in_record(lambda one: one.update(score={"metric": "exact_match", "value": 0.75})),
        )
    found = row(compared(original, again), "k2", "exact_match")
    assert (found.verdict, found.again) == (NOT_JUDGED, 0.7)
