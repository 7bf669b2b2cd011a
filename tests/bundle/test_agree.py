"""What agrees between a finished sweep and its repetition, and what differs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.bundle.agree import agree
from moe_eval_plugin.bundle.agreement import AGREES, DIFFERS, NOT_JUDGED, Agreement, Row
from moe_eval_plugin.bundle.finished import read_finished
from moe_eval_plugin.bundle.text import render_agreement
from moe_eval_plugin.errors import DataError
from moe_eval_plugin.sweep.manifest import load_manifest
from tests.bundle.finished_sweeps import change, in_record, results_of, write_sweep
from tests.report.report_runs import TASK, records, right, write_other_run, write_run, wrong_every

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moe_eval_plugin.bundle.agreement import Verdict

PER_S = "samples_per_s"
RATIO = "samples_per_s, ratio to baseline"
OBSERVED = "observed_num_experts_per_tok"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A sweep over k 8 and 2."""
    return write_sweep(tmp_path / "original")


@pytest.fixture
def again(original: Path, tmp_path: Path) -> Path:
    """The same sweep once more, answer by answer."""
    shutil.copytree(original, tmp_path / "again")
    return tmp_path / "again"


def compared(original: Path, again: Path, **options: Any) -> Agreement:
    return agree(read_finished(original), read_finished(again), **options)


def row(agreement: Agreement, point: str, number: str) -> Row:
    (found,) = [one for one in agreement.rows if (one.point, one.number) == (point, number)]
    return found


def verdict(agreement: Agreement, point: str, number: str) -> Verdict:
    return row(agreement, point, number).verdict


def differing(agreement: Agreement) -> list[tuple[str, str]]:
    return [(one.point, one.number) for one in agreement.rows if one.verdict == DIFFERS]


def test_an_honest_repeat_agrees(original: Path, again: Path) -> None:
    agreement = compared(original, again)
    assert agreement.agrees
    for point in ("k8", "k2"):
        for number in ("questions", "equal answers", "exact_match", OBSERVED, "n_input_tokens"):
            assert verdict(agreement, point, number) == AGREES
    assert row(agreement, "k2", "exact_match").original == 0.75
    assert "Reproduced: everything that is judged agrees" in render_agreement(agreement)


def test_a_changed_score_differs(original: Path, tmp_path: Path) -> None:
    worse = write_sweep(tmp_path / "worse", {8: right, 2: wrong_every(2)})
    agreement = compared(original, worse)
    assert not agreement.agrees
    assert differing(agreement) == [("k2", "exact_match")]
    found = row(agreement, "k2", "exact_match")
    assert (found.original, found.again) == (0.75, 0.5)
    assert found.interval is not None
    assert found.interval.high < 0
    assert "does not hold 0" in found.reason
    text = render_agreement(agreement)
    assert "DIFFERS" in text
    assert "Not reproduced: k2 exact_match" in text


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

    def mean(content: dict[str, Any]) -> None:
        content["configs"][TASK]["metric_list"] = [{"metric": "exact_match", "aggregation": "mean"}]

    for path in (results_of(original, "k2"), results_of(again, "k2")):
        change(path, mean)
    assert compared(original, again).agrees
    change(results_of(original, "k2"), better)
    agreement = compared(original, again)
    assert differing(agreement) == [("k2", "exact_match")]
    assert "says 0.800000, and its own samples give 0.750000" in (
        row(agreement, "k2", "exact_match").reason
    )


def test_another_observed_k_differs(original: Path, again: Path) -> None:
    change(results_of(again, "k2"), in_record(lambda one: one["experts"].update(observed=2.5)))
    assert differing(compared(original, again)) == [("k2", OBSERVED)]


def test_a_k_that_was_not_observed_again_differs(original: Path, again: Path) -> None:
    change(results_of(again, "k2"), in_record(lambda one: one.update(experts=None)))
    assert ("k2", OBSERVED) in differing(compared(original, again))


def test_the_k_of_a_rule_by_weights_is_shown_and_not_judged(original: Path, again: Path) -> None:
    for folder, observed in ((original, 1.5), (again, 1.6)):
        change(
            results_of(folder, "k2"),
            in_record(
                lambda one, k=observed: one["experts"].update(  # type: ignore[misc]
                    experts_policy="top_p:0.7", observed=k
                )
            ),
        )
    assert verdict(compared(original, again), "k2", OBSERVED) == NOT_JUDGED


def test_other_prompts_differ_by_their_tokens(original: Path, again: Path) -> None:
    change(results_of(again, "k8"), in_record(lambda one: one["speed"].update(n_input_tokens=999)))
    assert differing(compared(original, again)) == [("k8", "n_input_tokens")]


@pytest.mark.parametrize(("n_longer", "expected"), [(1, AGREES), (30, DIFFERS)])
def test_output_tokens_are_judged_answer_by_answer(
    original: Path, again: Path, n_longer: int, expected: Verdict
) -> None:
    for folder, n in ((original, 0), (again, n_longer)):
        path = results_of(folder, "k2")
        change(path, in_record(lambda one, n=n: one["speed"].update(n_output_tokens=80 + n)))  # type: ignore[misc]
        give_tokens(path, [3] * n + [2] * (40 - n))
    found = row(compared(original, again), "k2", "n_output_tokens")
    assert (found.original, found.again, found.verdict) == (80, 80 + n_longer, expected)


def test_output_tokens_without_counts_in_the_samples_are_not_judged(
    original: Path, again: Path
) -> None:
    change(results_of(again, "k2"), in_record(lambda one: one["speed"].update(n_output_tokens=81)))
    assert verdict(compared(original, again), "k2", "n_output_tokens") == NOT_JUDGED


def test_a_point_that_was_not_made_again_differs(original: Path, again: Path) -> None:
    results_of(again, "k2").unlink()
    assert differing(compared(original, again)) == [("k2", "point")]


def test_other_questions_differ(original: Path, tmp_path: Path) -> None:
    fewer = write_sweep(tmp_path / "fewer")
    write_run(fewer / "k2" / "demo", 2, wrong_every(4), records(20))
    agreement = compared(original, fewer)
    assert ("k2", "questions") in differing(agreement)
    assert "20 were not asked again" in row(agreement, "k2", "questions").reason


def test_a_part_of_the_questions_is_compared_if_that_was_asked_for(
    original: Path, tmp_path: Path
) -> None:
    fewer = write_sweep(tmp_path / "fewer")
    for k, answer in ((8, right), (2, wrong_every(4))):
        write_run(fewer / f"k{k}" / "demo", k, answer, records(20))
    agreement = compared(original, fewer, limited=True)
    assert agreement.agrees
    assert verdict(agreement, "k2", "exact_match") == AGREES
    assert verdict(agreement, "k2", "questions") == NOT_JUDGED
    worse = wrong_every(1)
    write_run(fewer / "k2" / "demo", 2, worse, records(20))
    assert differing(compared(original, fewer, limited=True)) == [("k2", "exact_match")]


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


def test_points_are_found_by_their_setting_and_not_by_their_name(
    original: Path, again: Path
) -> None:
    manifest = load_manifest(again)
    assert manifest is not None
    manifest.entries = {f"{name}-again": entry for name, entry in manifest.entries.items()}
    manifest.save()
    assert compared(original, again).agrees


def sweep_at(folder: Path, of_8: Sequence[float], of_2: Sequence[float]) -> Path:
    """Write a sweep with these speeds of its points, in samples per second."""
    return write_sweep(folder, rates={8: of_8, 2: of_2})


def test_a_speed_that_was_measured_once_is_shown_and_not_judged(tmp_path: Path) -> None:
    agreement = compared(
        sweep_at(tmp_path / "a", [10.0], [20.0]), sweep_at(tmp_path / "b", [10.0], [40.0])
    )
    found = row(agreement, "k2", RATIO)
    assert (found.original, found.again, found.verdict) == (2.0, 4.0, NOT_JUDGED)
    assert verdict(agreement, "k2", PER_S) == NOT_JUDGED
    assert agreement.agrees


@pytest.mark.parametrize(("within", "expected"), [(0.04, DIFFERS), (0.06, AGREES)])
def test_a_share_judges_every_speed(tmp_path: Path, within: float, expected: Verdict) -> None:
    agreement = compared(
        sweep_at(tmp_path / "a", [10.0], [20.0]),
        sweep_at(tmp_path / "b", [10.0], [21.0]),
        speed_within=within,
    )
    assert verdict(agreement, "k2", RATIO) == expected
    assert verdict(agreement, "k2", PER_S) == expected
    assert verdict(agreement, "k8", PER_S) == AGREES


@pytest.mark.parametrize(
    ("again", "expected"), [([21, 19.5, 20, 20.5, 19.8], AGREES), ([30, 31, 29, 30, 28], DIFFERS)]
)
def test_repeated_speeds_are_judged_by_their_intervals(
    tmp_path: Path, again: list[float], expected: Verdict
) -> None:
    agreement = compared(
        sweep_at(tmp_path / "a", [10, 10.1, 9.9, 10, 10.2], [20, 20.4, 19.6, 20, 20.1]),
        sweep_at(tmp_path / "b", [10, 9.9, 10.1, 10, 10.1], again),
    )
    for number in (RATIO, PER_S):
        found = row(agreement, "k2-seed0", number)
        assert found.verdict == expected
        assert found.interval is not None
    assert verdict(agreement, "k8-seed0", PER_S) == AGREES


def test_on_another_machine_only_the_ratio_is_judged(tmp_path: Path) -> None:
    original = sweep_at(tmp_path / "a", [10.0], [20.0])
    again = sweep_at(tmp_path / "b", [100.0], [200.0])
    for point in ("k8", "k2"):
        change(
            results_of(again, point),
            in_record(lambda one: one["provenance"].update(hardware={"kind": "cuda"})),
        )
    agreement = compared(original, again, speed_within=0.1)
    assert verdict(agreement, "k2", RATIO) == AGREES
    found = row(agreement, "k2", PER_S)
    assert found.verdict == NOT_JUDGED
    assert "another machine: kind cpu -> cuda" in found.reason
    assert agreement.agrees


def test_a_single_run_is_compared_with_a_single_run(tmp_path: Path, original: Path) -> None:
    runs = [write_run(tmp_path / name, 4) for name in "ab"]
    agreement = compared(*runs)
    assert agreement.agrees
    assert {one.point for one in agreement.rows} == {"run"}
    with pytest.raises(DataError, match=r"The bundle holds a sweep, and .* is a single run"):
        compared(original, runs[0])


def test_a_model_that_is_not_ours_is_compared_by_its_answers(tmp_path: Path) -> None:
    agreement = compared(write_other_run(tmp_path / "a"), write_other_run(tmp_path / "b"))
    assert agreement.agrees
    assert [one.number for one in agreement.rows] == ["questions", "equal answers", "exact_match"]


def test_where_nothing_can_be_judged_nothing_is_reproduced() -> None:
    agreement = Agreement((Row("run", "t", "n", 1.0, 2.0, NOT_JUDGED, "no samples"),))
    assert not agreement.agrees
    assert "Nothing could be judged" in render_agreement(agreement)


def test_other_settings_are_told(original: Path, again: Path) -> None:
    change(
        results_of(again, "k2"), in_record(lambda one: one["provenance"].update(dtype="float32"))
    )
    change(results_of(again, "k2"), in_record(lambda one: one["provenance"].update(encode_s=1.0)))
    assert compared(original, again).settings == ("dtype: None -> float32",)


def give_tokens(results: Path, counts: Sequence[int]) -> None:
    """Write the tokens of each answer into the samples of a run."""
    import json

    (path,) = results.parent.glob("*.jsonl")
    samples = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    lines = [
        json.dumps({**sample, "token_counts": [{"output_tokens": n}]}) + "\n"
        for sample, n in zip(samples, counts, strict=True)
    ]
    path.write_text("".join(lines), "utf-8")
