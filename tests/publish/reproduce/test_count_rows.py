from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED
from tests.publish.bundle.finished_sweeps import change, in_record, results_of
from tests.publish.reproduce.compared_sweeps import OBSERVED, compared, differing, row, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moe_eval_plugin.publish.reproduce.agreement import Verdict


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


def test_what_a_cache_answered_has_no_tokens_and_no_speed_to_compare(
    original: Path, again: Path
) -> None:
    def partly(record: dict[str, Any]) -> None:
        record["n_answers_from_cache"] = 39
        record["speed"].update(n_samples=1, n_input_tokens=9, n_output_tokens=2)

    change(results_of(original, "k2"), in_record(partly))
    found = compared(original, again)
    assert differing(found) == []
    assert verdict(found, "k2", "n_input_tokens") == NOT_JUDGED
    assert not [one for one in found.rows if one.point == "k2" and one.kind == "speed"]


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


def test_samples_that_cannot_be_read_are_reported_once(original: Path, again: Path) -> None:
    path = results_of(again, "k2")
    change(path, in_record(lambda one: one["speed"].update(n_output_tokens=81)))
    (samples,) = path.parent.glob("*.jsonl")
    samples.write_text("{", "utf-8")
    assert verdict(compared(original, again), "k2", "n_output_tokens") == NOT_JUDGED
    assert differing(compared(original, again)) == [("k2", "questions")]


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
