"""Group the runs of a series by their settings, from the largest price to the smallest."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from moe_eval_plugin.experts.schedules.routing_rule import NATIVE
from moe_eval_plugin.experts.schedules.setting_kind import SettingKind, kind_of
from moe_eval_plugin.experts.schedules.tuning_record import SEARCH
from moe_eval_plugin.report.series import LeftOut, ReportPoint
from moe_eval_plugin.results.samples import calibration_doc_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from moe_eval_plugin.report.series import FinishedTask
    from moe_eval_plugin.results.score_facts import ScoreFacts

Key = TypeVar("Key")
WITHOUT_K = "unmodified"


def make_points(
    members: Sequence[FinishedTask], doc_ids: frozenset[str]
) -> tuple[ReportPoint, ...]:
    """Return the settings of a series, by their price in experts where they are no uniform k.

    ``doc_ids`` are the questions to leave out: the host's numbers of them.
    """
    groups = grouped(members, _setting)
    count = Counter(label for label, _ in groups)
    points = [
        ReportPoint(
            label=f"{label} ({request})" if count[label] > 1 and request else label,
            k=runs[0].facts.k,
            is_baseline=_is_baseline(runs[0].facts),
            runs=tuple(run.without(doc_ids) for run in runs),
            kind=_kind(runs[0]),
        )
        for (label, request), runs in groups.items()
    ]
    return tuple(sorted(points, key=_order))


def left_out(
    points: Sequence[ReportPoint], doc_ids: frozenset[str], finished: Iterable[FinishedTask]
) -> LeftOut | None:
    """Return the questions of a series that took part in choosing; ``None`` without any.

    ``finished`` are all runs of the report, any of which may have been chosen with them.
    """
    runs = [run for point in points for run in point.runs]
    unknown = tuple(
        point.label for point in points if any(run.answered is None for run in point.runs)
    )
    one = max(runs, key=lambda run: run.n_left_out)
    if not doc_ids or not (one.n_left_out or unknown):
        return None
    task = points[0].first.task.task
    names = dict.fromkeys(
        run.setup.tuning.name
        for run in finished
        if run.setup.tuning is not None and run.setup.tuning.doc_ids(task)
    )
    n_asked = one.n_left_out + len(one.questions)
    return LeftOut(one.n_left_out, n_asked, tuple(names), unknown)


def calibration_questions(finished: Iterable[FinishedTask]) -> dict[str, frozenset[str]]:
    """Return the questions to leave out, by task: those that any setting was chosen with."""
    by_task = grouped(finished, lambda one: one.task.task)
    return {
        task: calibration_doc_ids((one.setup for one in runs), task)
        for task, runs in by_task.items()
    }


def grouped(
    members: Iterable[FinishedTask], key: Callable[[FinishedTask], Key]
) -> dict[Key, list[FinishedTask]]:
    """Group runs by a key, in their order."""
    groups: dict[Key, list[FinishedTask]] = {}
    for one in members:
        groups.setdefault(key(one), []).append(one)
    return groups


def _kind(one: FinishedTask) -> SettingKind:
    facts = one.facts
    experts_k = None if facts.num_experts_per_tok is not None else facts.experts_k
    return kind_of(facts.experts_policy, experts_k, one.setup.tuning)


def _order(point: ReportPoint) -> float:
    of_price = point.price if point.kind is not SettingKind.UNIFORM else None
    return -(point.k or 0) if of_price is None else -of_price


def _setting(one: FinishedTask) -> tuple[str, str]:
    """Return the label of a setting, and of one from a file the request that it stands for."""
    facts, tuning = one.facts, one.setup.tuning
    if not facts.is_ours:
        return WITHOUT_K, ""
    if tuning is None:
        text = facts.setting
        if _kind(one) is SettingKind.POLICY and facts.num_experts_per_tok in _published(facts):
            return ", ".join(text.split(", ")[1:]), ""
        if facts.experts_k is None and facts.k is not None:
            # Running as published is the same setting as requesting the published k.
            text = text.replace("as published", f"k={facts.k:g}")
        return text, ""
    return ", ".join(_parts(facts, tuning.name, tuning.method)), _request(facts)


def _parts(facts: ScoreFacts, name: str, method: str) -> Iterator[str]:
    """Yield the parts of the label of a setting whose schedule or policy is from a file."""
    is_search = method == SEARCH
    if is_search:
        yield name
    elif facts.num_experts_per_tok not in _published(facts):
        yield f"k={facts.num_experts_per_tok}"
    if not is_search:
        yield name
    elif facts.experts_policy not in (None, NATIVE.policy_text):
        yield str(facts.experts_policy)
    if facts.renorm not in (None, NATIVE.renorm):
        yield str(facts.renorm)


def _published(facts: ScoreFacts) -> tuple[int | None, ...]:
    """Return what is requested where a model keeps its published k."""
    is_schedule = facts.num_experts_per_tok is None and facts.experts_k is not None
    return () if is_schedule else (None, facts.baseline_num_experts_per_tok)


def _request(facts: ScoreFacts) -> str:
    policy = "" if facts.experts_policy == NATIVE.policy_text else facts.experts_policy
    return ", ".join(filter(None, (facts.experts_k, policy)))


def _is_baseline(facts: ScoreFacts) -> bool:
    native = (NATIVE.policy_text, NATIVE.renorm)
    unchanged = (facts.experts_policy, facts.renorm) == native
    return facts.is_ours and unchanged and facts.k == facts.baseline_num_experts_per_tok
