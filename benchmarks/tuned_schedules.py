"""Compare searched schedules and calibrated policies with the uniform k of the same price.

Run ``python benchmarks/tuned_schedules.py FOLDER``: schedules and policies of the embedded model
are calibrated on 256 training questions of easy-VQA, at half, three eighths and a quarter of its
experts. Then all 9,673 test questions are asked at k = 8, 4, 3 and 2, with each schedule and with
each policy, through the sweep. It prints a table in Markdown: accuracy, the paired difference from
the uniform k of the same price with its 95% interval, and the speed-up with its interval, beside
the one that FLOPs allow at most. An interrupted run continues with the same command.

``--limit 500 --calibration 32`` is a short form. With ``--require`` it exits with 1 unless the
schedule of a quarter is at least 5 points better than k=2, and none is significantly worse.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import moe_eval_plugin as moe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.api.runs import Sweep
    from moe_eval_plugin.api.tuning import Tuning

MODEL, TASK = "demo", "easy_vqa"
# The k whose prices are targets.
UNIFORM = (4, 3, 2)
POLICIES = ("top_p", "threshold", "entropy", "modes")
# Prompts in a batch: on a CPU larger ones take less time.
BATCH_SIZE = 32
LEAST_GAIN_POINTS = 5.0


@dataclass(frozen=True)
class Row:
    """A setting at the price of a uniform k; accuracies in percent, differences in points."""

    name: str
    """The uniform k, the name of a schedule, or that of a policy."""
    uniform_k: int
    """The uniform k of its price."""
    setting: str
    """The schedule or the policy, as the options take it."""
    observed_k: float | None
    """Routed experts per token that were counted."""
    accuracy: float
    """Share of the questions that were answered as expected."""
    difference: float | None
    """Accuracy minus that of the uniform k, on the same questions."""
    interval: tuple[float, float] | None
    """Its 95% interval."""
    p_value: float | None
    """Of the hypothesis that there is no difference."""
    speed_up: str | None
    """Times as fast as the published k, with the interval."""
    predicted_speed_up: float | None
    """The speed-up of the language model if time followed its FLOPs; for schedules."""


def tuned(folder: Path, n_questions: int, policies: Sequence[str]) -> Tuning:
    """Calibrate schedules and policies at the prices of the uniform k."""
    published = moe.inspect(MODEL).report.baseline_num_experts_per_tok
    return moe.tune(
        MODEL,
        TASK,
        [k / published for k in UNIFORM],
        calibration=n_questions,
        policy=policies,
        batch_size=BATCH_SIZE,
        output=folder / "tuned",
        progress=False,
    )


def asked(folder: Path, found: Tuning, limit: int | None, budget_s: str) -> Sweep:
    """Ask the questions with everything that was found, and at each uniform k."""
    return moe.sweep(
        MODEL,
        TASK,
        [8, *UNIFORM, *map(str, found.schedules)],
        policies=[f"@{path}" for path in found.policies],
        limit=limit,
        batch_size=64,
        batch_sizes=[16],
        speed_budget=budget_s,
        output=folder / "sweep",
        progress=False,
    )


def rows_of(found: Tuning, sweep: Sweep) -> list[Row]:
    """Return each setting beside the uniform k of its price."""
    policies = {one.name: one for one in found.study.policies}
    rows = []
    for point in found.study.points:
        k = point.uniform_k or 0
        rows.append(_row(sweep, f"k={k}", k, str(k), k))
        flops = point.flops
        one = _row(sweep, point.name, k, point.experts_k, point.name)
        rows.append(replace(one, predicted_speed_up=1 / flops if flops else None))
        rows += [
            _row(sweep, one.name, k, one.experts_policy, one.name)
            for one in policies.values()
            if one.target == point.target
        ]
    return rows


def _row(sweep: Sweep, name: str, k: int, text: str, which: int | str) -> Row:
    setting = sweep[which]
    difference = None
    if which != k:
        compared = moe.compare(sweep[k], setting)
        ((_, task),) = compared.tasks
        difference = task.scores[0].difference
    interval = difference.interval if difference else None
    return Row(
        name=name,
        uniform_k=k,
        setting=text,
        observed_k=setting.observed_k,
        accuracy=setting.accuracy,
        difference=100 * difference.difference if difference else None,
        interval=(100 * interval.low, 100 * interval.high) if interval else None,
        p_value=difference.p_value if difference else None,
        speed_up=setting.speed_up.text if setting.speed_up else None,
        predicted_speed_up=None,
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table."""
    heads = ["setting", "experts per token", "accuracy, %", "against uniform, points"]
    heads += ["speed-up", "by FLOPs"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        against = "-"
        if row.difference is not None and row.interval is not None:
            low, high = row.interval
            against = f"{row.difference:+.2f} ({low:+.2f} to {high:+.2f})"
        label = row.name if row.name == f"k={row.uniform_k}" else f"{row.name}: `{row.setting}`"
        used = "-" if row.observed_k is None else f"{row.observed_k:.2f}"
        flops = row.predicted_speed_up
        predicted = "-" if flops is None else f"{flops:.2f}×"
        cells = [label, used, f"{row.accuracy:.2f}", against, row.speed_up or "-", predicted]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shortfalls(rows: Sequence[Row]) -> list[str]:
    """Return in words which schedules do not show what they should."""
    found = []
    for row in rows:
        is_schedule = row.name.startswith("tuned-")
        if is_schedule and row.interval is not None and row.interval[1] < 0:
            found.append(f"{row.name} is significantly worse than k={row.uniform_k}")
        if is_schedule and row.uniform_k == min(UNIFORM):
            gain = row.difference or 0.0
            if gain < LEAST_GAIN_POINTS:
                found.append(f"{row.name} gains {gain:.2f} points over k={row.uniform_k}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate, ask, print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the study and the sweep")
    parser.add_argument("--limit", type=int, help="questions to ask (default: all)")
    parser.add_argument("--calibration", type=int, default=256, help="questions to calibrate on")
    parser.add_argument("--policies", nargs="*", default=POLICIES, help="policies to calibrate")
    parser.add_argument("--speed-budget", default="auto", help="seconds of the timed pass")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument(
        "--require", action="store_true", help="exit with 1 if too little is gained"
    )
    options = parser.parse_args(arguments)
    found = tuned(options.folder, options.calibration, options.policies)
    sweep = asked(options.folder, found, options.limit, options.speed_budget)
    rows = rows_of(found, sweep)
    print(as_markdown(rows))
    print(f"\nSettings measured in calibration: {found.study.n_tried}.", *found.study.notes)
    if options.json:
        origin = asdict(found.study.origin)
        content = {"origin": origin, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    failed = shortfalls(rows) if options.require else []
    if failed:
        print("; ".join(failed), file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
