"""What schedules and policies cost and gain, in words: against uniform k and the published k."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.experts.schedules.setting_kind import SettingKind
from moe_eval_plugin.experts.schedules.tuned_file import read_tuned_file
from moe_eval_plugin.report.analysis.series_statistics import PriceVerdict
from moe_eval_plugin.sweeps.plan import SCHEDULES
from moe_eval_plugin.text import HUNDRED, p_value_text, points_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.analysis.series_statistics import (
        EqualPrice,
        PointStatistics,
        SeriesStatistics,
    )
    from moe_eval_plugin.report.series import ReportPoint
    from moe_eval_plugin.stats import SpeedRatio

# Less than this share of experts is none in words.
LEAST_SHARE = 0.005
SCHEDULES_OF_K = (SettingKind.SCHEDULE, SettingKind.SEARCHED)


def verdict_text(row: EqualPrice) -> str:
    """Return the verdict of a comparison at equal price, with whether it is significant."""
    if row.verdict is PriceVerdict.NOTHING:
        return f"{row.verdict.value}: {row.reason}"
    shown = "not significant" if row.verdict is PriceVerdict.NOT_BETTER else "significant"
    return f"{row.verdict.value} ({shown})"


def p_text(row: EqualPrice) -> str:
    """Return the adjusted p-value of a comparison; nothing where there is none."""
    p = row.difference.adjusted_p_value if row.difference else None
    if p is None:
        return ""
    text = p_value_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def against_uniform(numbers: SeriesStatistics, row: EqualPrice) -> str:
    """Return a comparison at equal price as the end of a sentence: ``better than k=4, ...``."""
    if row.verdict is PriceVerdict.NOTHING or row.difference is None:
        return f"not judged against uniform k: {row.reason}"
    change = points_text(row.difference.difference * numbers.scale, sign=True)
    words = "not shown to be better" if row.verdict is PriceVerdict.NOT_BETTER else ""
    return (
        f"{words or row.verdict.value} than {row.uniform}, the uniform k of its price "
        f"({change} points, {p_text(row)})"
    )


def passed_over_text(numbers: SeriesStatistics) -> str:
    """Return why a schedule or policy is not recommended that would be; nothing without one."""
    row = numbers.at_price_of(numbers.passed_over)
    if row is None:
        return ""
    return (
        f"{row.setting} ({row.kind.value}) is not recommended: it is "
        f"{against_uniform(numbers, row)}, and not shown to be faster."
    )


def price_sentences(numbers: SeriesStatistics) -> Iterator[str]:
    """Yield what each schedule and policy saves of the published k's experts and time."""
    published = numbers.baseline
    for one in numbers.points:
        if one.point.kind is not SettingKind.UNIFORM and published is not None:
            text = _saved(numbers, one)
            if text:
                yield f"{one.point.label} uses {text} {published.point.label}{_interval(one)}."


def _saved(numbers: SeriesStatistics, one: PointStatistics) -> str:
    """Return what a setting saves against the published k, as the middle of a sentence."""
    share = numbers.price_share(one)
    if share is None:
        return ""
    experts = f"{1 - share:.0%} fewer experts" if 1 - share >= LEAST_SHARE else "no fewer experts"
    ratio = one.speed_up
    if ratio is None:
        return f"{experts} than"
    if not ratio.excludes_one:
        return f"{experts}, and is not shown to be faster or slower than"
    more = 1 / ratio.ratio - 1
    return f"{experts} and takes {abs(more):.0%} {'more' if more > 0 else 'less'} time than"


def _interval(one: PointStatistics) -> str:
    ratio = one.speed_up
    if ratio is None:
        return ""
    if ratio.interval is None:
        return f" ({ratio.ratio:.2f}× as fast, timed once)"
    return f" ({ratio.text.replace('(', 'as fast, ').replace(')', '')})"


def speed_text(ratio: SpeedRatio | None) -> str:
    """Return a ratio of speeds with its interval; nothing where it was not measured."""
    return ratio.text if ratio else ""


def deployment_text(one: PointStatistics) -> str:
    """Return the command that exports a schedule or policy to other tools; nothing for a uniform k.

    It names the file that its sweep keeps, or else the schedule and its model. A policy without a
    file has none.
    """
    point, facts = one.point, one.point.first.facts
    if path := _kept_file(point):
        return f"To deploy it: moe-eval schedule export {shlex.quote(str(path))} --for all"
    if point.kind not in SCHEDULES_OF_K or facts.experts_k is None:
        return ""
    command = ["schedule", "export", facts.experts_k, "--for", "all", "--model", facts.pretrained]
    return f"To deploy it: moe-eval {shlex.join(command)}"


def _kept_file(point: ReportPoint) -> Path | None:
    """Return the file of a tuned setting in the folder of its sweep; ``None`` where it is not."""
    if point.tuning is None:
        return None
    name = Path(SCHEDULES, f"{point.tuning.name}.yaml")
    for folder in point.first.run.path.parents:
        try:
            if read_tuned_file(folder / name).tuning == point.tuning:
                return folder / name
        except UserError:
            continue
    return None


def about_price(numbers: SeriesStatistics, one: PointStatistics) -> str:
    """Return how a recommended setting compares with the uniform k of its price, and what does not.

    Nothing for a uniform k that no schedule or policy would replace.
    """
    row = numbers.at_price_of(one.point.label)
    faster = f", and {row.speed.text} as fast" if row and row.speed and row.is_faster else ""
    own = f"At equal price it is {against_uniform(numbers, row)}{faster}." if row else ""
    return " ".join(filter(None, (own, passed_over_text(numbers))))


def percent_text(share: float | None) -> str:
    """Return a share in percent; nothing where it is not known."""
    return "" if share is None else f"{share * HUNDRED:.0f}%"
