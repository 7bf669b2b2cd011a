"""Compare one sweep over k with a process of lmms-eval for each k, on the same questions.

Run ``python benchmarks/sweep_speed.py``. Both answer the same questions of easy-VQA with the
embedded model at the same k, one after the other in each round. That the answers are equal is
checked, question by question; it exits with 1 if they are not, or if the sweep took more than
``--at-most`` of the time.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.files import find_run, read_samples
from moe_eval_plugin.results.versions import installed_versions

if TYPE_CHECKING:
    from collections.abc import Sequence

Answers = dict[str, list[tuple[Any, ...]]]


class Comparison:
    """Runs the same settings both ways, with the options of the command line."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(options.threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }

    def sweep(self, folder: Path) -> tuple[float, Answers]:
        """Run one sweep; return its seconds and its answers by k."""
        ks = [str(k) for k in self._options.experts_k]
        program = [sys.executable, "-m", "moe_eval_plugin"]
        questions = ("--tasks", "easy_vqa", "--limit", str(self._options.limit))
        seconds = self._time(
            [
                *(*program, "sweep", "--model-args", "pretrained=demo", "--experts-k", *ks),
                *(*questions, "--batch-size", str(self._options.batch_size)),
                *("--output", str(folder), "--speed-budget", "0"),
            ]
        )
        return seconds, {k: _answers(folder / f"k{k}", k) for k in ks}

    def separate(self, folder: Path) -> tuple[float, Answers]:
        """Run a process of lmms-eval for each k; return the seconds of all, and the answers."""
        total, answers = 0.0, {}
        for k in map(str, self._options.experts_k):
            total += self._time(
                [
                    *(sys.executable, "-m", "lmms_eval", "--model", "moe_hf"),
                    *("--model_args", f"pretrained=demo,experts_k={k}", "--tasks", "easy_vqa"),
                    *("--limit", str(self._options.limit)),
                    *("--batch_size", str(self._options.batch_size)),
                    *("--log_samples", "--output_path", str(folder / k)),
                ]
            )
            answers[k] = _answers(folder / k, k)
        return total, answers

    def _time(self, command: Sequence[str]) -> float:
        begin = time.perf_counter()
        ended = subprocess.run(  # noqa: S603
            command, env=self._environment, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - begin
        if ended.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr}")
        return seconds


def _answers(folder: Path, k: str) -> list[tuple[Any, ...]]:
    """Return question, answers and score of each sample; exit if another k was observed."""
    task = find_run(folder).task("easy_vqa")
    experts = task.record.experts if task.record else None
    if experts is None or experts.observed != int(k) or not task.samples:
        sys.exit(f"{folder} holds no verified run at {k} experts")
    return [(one.doc_id, one.answers, one.scores["exact_match"]) for one in read_samples(task)]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, default=500, help="questions; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; default: %(default)s")
    parser.add_argument(
        "--experts-k", type=int, nargs="+", default=[8, 7, 6, 5, 4, 3, 2, 1], metavar="K"
    )
    parser.add_argument(
        "--at-most", type=float, default=0.12, metavar="SHARE", help="default: %(default)s"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all rounds; print the figures, and write them if asked to."""
    options = parse(arguments)
    comparison = Comparison(options)
    rounds = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            sweep_s, swept = comparison.sweep(Path(folder) / "sweep")
            separate_s, answered = comparison.separate(Path(folder) / "separate")
        if swept != answered:
            sys.exit("The sweep and the separate processes did not give the same answers.")
        rounds.append({"sweep_s": sweep_s, "separate_s": separate_s, "share": sweep_s / separate_s})
        print(
            f"round {number + 1}: sweep {sweep_s:.1f} s, {len(answered)} processes "
            f"{separate_s:.1f} s, share {sweep_s / separate_s:.3f}"
        )
    share = statistics.median(one["share"] for one in rounds)
    scores = {k: statistics.mean(one[-1] for one in found) for k, found in answered.items()}
    print(f"equal answers to {options.limit} questions at each k; exact match: {scores}")
    print(f"the sweep took {share:.3f} of the time; at most {options.at_most} is wanted")
    if options.json:
        figures = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores of {platform.machine()}, {platform.system()}",
            "versions": installed_versions(),
            "limit": options.limit,
            "batch_size": options.batch_size,
            "n_threads": options.threads,
            "rounds": rounds,
            "exact_match": scores,
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if share <= options.at_most else 1)


if __name__ == "__main__":
    main()
