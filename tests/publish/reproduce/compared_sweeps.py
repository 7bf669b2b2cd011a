from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.publish.bundle.finished import read_finished
from moe_eval_plugin.publish.reproduce.agreement import DIFFERS, Agreement, Row
from moe_eval_plugin.publish.reproduce.compare_points import compare_with_original
from tests.report.report_runs import TASK

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.publish.reproduce.agreement import Verdict


OBSERVED = "observed_num_experts_per_tok"


def compared(original: Path, again: Path, **options: Any) -> Agreement:
    return compare_with_original(read_finished(original), read_finished(again), **options)


def row(agreement: Agreement, point: str, number: str) -> Row:
    (found,) = [one for one in agreement.rows if (one.point, one.number) == (point, number)]
    return found


def verdict(agreement: Agreement, point: str, number: str) -> Verdict:
    return row(agreement, point, number).verdict


def differing(agreement: Agreement) -> list[tuple[str, str]]:
    return [(one.point, one.number) for one in agreement.rows if one.verdict == DIFFERS]


def as_mean(content: dict[str, Any]) -> None:
    """Let a results file say that its score is the mean of those of the questions."""
    content["configs"][TASK]["metric_list"] = [{"metric": "exact_match", "aggregation": "mean"}]
