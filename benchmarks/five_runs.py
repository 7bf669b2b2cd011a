"""Repeat the same sweep while another program loads a core: do its speed-ups repeat?

Run ``python benchmarks/five_runs.py --json FILE --markdown FILE``. Each run is a whole sweep of the
embedded model into a folder of its own. Its timed pass times all k in blocks. Its answering pass
runs one k after the other, which is how sweeps were timed until 0.2.0, in the same minutes. A busy
loop occupies a core meanwhile. It shows each run's speed-up with its interval, and whether every
interval at the chosen k contains the median of all runs; it exits with 1 if one does not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.files import find_run
from moe_eval_plugin.results.timing.timed_pass import read_timed_passes
from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.results.timing.timed_pass import TimedPass

TASK = "easy_vqa"
BUSY_LOOP = "while True: pass"


@contextmanager
def busy_cores(n: int) -> Iterator[None]:
    """Keep cores busy with a loop each, until the end."""
    programs = [
        subprocess.Popen([sys.executable, "-c", BUSY_LOOP])  # noqa: S603
        for _ in range(n)
    ]
    try:
        yield
    finally:
        for one in programs:
            one.kill()
            one.wait()


def sweep(options: argparse.Namespace, folder: Path) -> float:
    """Run one sweep into a folder, and return its seconds; exit if it fails."""
    command = [
        *(sys.executable, "-m", "moe_eval_plugin", "sweep", "--model-args", options.model_args),
        *("--tasks", TASK, "--experts-k", *map(str, options.experts_k)),
        *("--limit", str(options.limit), "--batch-size", str(options.batch_size)),
        *("--speed-precision", str(options.speed_precision)),
        *("--speed-budget", options.speed_budget, "--output", str(folder)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    begin = time.perf_counter()
    ended = subprocess.run(  # noqa: S603
        command, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr}")
    return time.perf_counter() - begin


def figures_of(folder: Path) -> dict[str, Any]:
    """Return the speed-ups of both ways of timing from the folder of a finished sweep."""
    (found,) = read_timed_passes(folder)
    answering = {name: _answering_seconds(folder / name) for name in found.settings}
    others = [
        block.load.other_cpu_cores
        for block in found.counted
        if block.load is not None and block.load.other_cpu_cores is not None
    ]
    return {
        "baseline": found.baseline,
        "in_blocks": {name: _speed_up(found, name) for name in found.settings},
        "one_after_the_other": {
            name: answering[found.baseline] / seconds for name, seconds in answering.items()
        },
        "n_blocks": len(found.counted),
        "ended_by": found.ended_by,
        "budget_s": found.budget_s,
        "timed_s": sum(one.seconds(name) for one in found.blocks for name in found.settings),
        "answering_s": answering,
        "other_cpu_cores": statistics.fmean(others) if others else None,
        "seconds_of_blocks": {
            name: [round(one.seconds(name), 4) for one in found.counted] for name in found.settings
        },
    }


def _answering_seconds(folder: Path) -> float:
    """Return the seconds that a setting took in the answering pass."""
    record = find_run(folder).task(TASK).record
    speed = record.speed if record else None
    if speed is None:
        sys.exit(f"{folder} holds no speed")
    return speed.wall_s


def _speed_up(found: TimedPass, setting: str) -> dict[str, Any]:
    ratio = found.speed_up(setting)
    if ratio is None or ratio.interval is None:
        sys.exit(f"{setting} was timed in too few blocks; use a larger --speed-budget")
    return {
        "ratio": ratio.ratio,
        "low": ratio.interval.low,
        "high": ratio.interval.high,
        "ratio_of_totals": ratio.ratio_of_totals,
        "text": ratio.text,
    }


def table(runs: Sequence[dict[str, Any]], setting: str) -> str:
    """Return the speed-ups of a setting in all runs as a Markdown table."""
    middle = statistics.median(one["in_blocks"][setting]["ratio"] for one in runs)
    header = ("run", "in blocks", f"contains {middle:.2f}×", "one after the other", "blocks")
    columns = (*header, "timed", "answering", "cores of others")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for number, one in enumerate(runs, 1):
        ratio, busy = one["in_blocks"][setting], one["other_cpu_cores"]
        lines.append(
            f"| {number} | {ratio['text']} | {'yes' if _holds(ratio, middle) else 'no'} "
            f"| {one['one_after_the_other'][setting]:.2f}× | {one['n_blocks']} "
            f"| {one['timed_s']:.0f} s | {sum(one['answering_s'].values()):.0f} s "
            f"| {'-' if busy is None else f'{busy:.1f}'} |"
        )
    return "\n".join(lines) + "\n"


def all_contain_the_median(runs: Sequence[dict[str, Any]], setting: str) -> bool:
    """Whether each run's interval contains the median of the speed-ups of all runs."""
    found = [one["in_blocks"][setting] for one in runs]
    middle = statistics.median(one["ratio"] for one in found)
    return all(_holds(one, middle) for one in found)


def _holds(ratio: dict[str, Any], value: float) -> bool:
    return bool(ratio["low"] <= value <= ratio["high"])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="default: %(default)s")
    # Shared images would make the answering pass faster, and no longer what it was.
    parser.add_argument(
        "--model-args", default="pretrained=demo,share_images=no", help="default: %(default)s"
    )
    parser.add_argument("--experts-k", type=int, nargs="+", default=[8, 4, 2, 1], metavar="K")
    parser.add_argument("--judged", default="k4", metavar="SETTING", help="default: %(default)s")
    parser.add_argument("--limit", type=int, default=512, help="questions; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; default: %(default)s")
    parser.add_argument("--busy", type=int, default=1, help="busy loops; default: %(default)s")
    parser.add_argument("--speed-precision", type=float, default=0.03)
    parser.add_argument("--speed-budget", default="auto", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to a file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all sweeps; print the tables, and write the figures if asked to."""
    options = parse(arguments)
    runs: list[dict[str, Any]] = []
    with busy_cores(options.busy):
        for _ in range(options.runs):
            with tempfile.TemporaryDirectory() as folder:
                seconds = sweep(options, Path(folder) / "sweep")
                runs.append({**figures_of(Path(folder) / "sweep"), "sweep_s": seconds})
            _write(options, runs)
    others = [one for one in runs[0]["in_blocks"] if one != runs[0]["baseline"]]
    shown = [f"`{one}`\n\n{table(runs, one)}" for one in others]
    print("\n".join(shown))
    if options.markdown:
        options.markdown.write_text("\n".join(shown), encoding="utf-8")
    contains = all_contain_the_median(runs, options.judged)
    verdict = "every" if contains else "not every"
    print(f"{options.judged}: {verdict} interval contains the median of all runs")
    sys.exit(0 if contains else 1)


def _write(options: argparse.Namespace, runs: Sequence[dict[str, Any]]) -> None:
    """Write what is known so far, so that an interruption loses one run."""
    print(f"run {len(runs)}: {runs[-1]['in_blocks'][options.judged]['text']}", flush=True)
    if options.json:
        figures = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores of {platform.machine()}, {platform.system()}",
            "versions": installed_versions(),
            "options": {
                name: value for name, value in vars(options).items() if not isinstance(value, Path)
            },
            "runs": list(runs),
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
