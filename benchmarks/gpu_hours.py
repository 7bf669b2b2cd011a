"""Estimate the GPU hours of a sweep with the cost model; nothing is run.

Run ``python benchmarks/gpu_hours.py``. It prints a table in Markdown: the hours that the questions
of OK-VQA and VQAv2 take at each k, on an A100 and an H100, for Qwen3-VL-30B-A3B (its sizes are in
``benchmarks/gpu``). Prefill and the image tower take FLOPs / (peak FLOP/s x S-MFU), and decode
takes bytes / (bandwidth x S-MBU). Peak and bandwidth are those of data sheets. S-MFU of prefill and
S-MBU of decode are measured: the largest and the smallest of all k in
``docs/measurements/raw/bench-mid-size-cpu.json`` make the range of each figure.

They were measured on a CPU with a smaller model, so the hours are an estimate and no measurement.
Left out: reading and preprocessing images, the start of a sweep, its verification and timed pass.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import moe_eval_plugin as moe
from moe_eval_plugin.hardware.accelerators import find_accelerator

if TYPE_CHECKING:
    from moe_eval_plugin.models.inspection.report import ModelReport

ROOT = Path(__file__).parents[1]
SIZES = ROOT / "benchmarks" / "gpu" / "qwen3-vl-30b-a3b.json"
MEASURED = ROOT / "docs" / "measurements" / "raw" / "bench-mid-size-cpu.json"
GPUS = {"A100": "A100-SXM4-80GB", "H100": "H100 80GB HBM3"}
DTYPE = "bfloat16"
N_QUESTIONS = {"OK-VQA": 5_046, "VQAv2": 214_354}
KS = (8, 6, 4, 2, 1)
PATCHES_PER_TOKEN = 4
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Question:
    """The size of a question."""

    patches: int
    """Patches of its image."""
    text_tokens: int
    """Tokens of its text, with those of the chat template."""
    answer_tokens: int
    """Tokens of its answer; prefill computes the first of them."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt: text, and one for each 2 x 2 patches."""
        return self.text_tokens + self.patches // PATCHES_PER_TOKEN


@dataclass(frozen=True)
class Shares:
    """Shares of what a device can do at most, 0 to 1."""

    s_mfu: float
    """Of its FLOP/s, in prefill."""
    s_mbu: float
    """Of its memory bandwidth, in decode."""


def main() -> None:
    """Print the estimate for each k, task and GPU."""
    arguments = _arguments()
    question = Question(arguments.patches, arguments.text_tokens, arguments.answer_tokens)
    report = _inspected(question, arguments.batch_size)
    best, worst = measured_shares()
    print(
        f"S-MFU {worst.s_mfu:.1%} to {best.s_mfu:.1%}, S-MBU {worst.s_mbu:.0%} to {best.s_mbu:.0%}"
    )
    columns = [(task, gpu) for task in N_QUESTIONS for gpu in GPUS]
    print("\n| k | " + " | ".join(f"{task}, {gpu}" for task, gpu in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    rows = {**{f"k={k}": (k,) for k in KS}, "all five": KS}
    for label, ks in rows.items():
        cells = [
            " to ".join(
                f"{sum(hours(report, question, k, column, shares) for k in ks):.2g}"
                for shares in (best, worst)
            )
            for column in columns
        ]
        print(f"| {label} | " + " | ".join(f"{cell} h" for cell in cells) + " |")


def hours(
    report: ModelReport, question: Question, k: int, column: tuple[str, str], shares: Shares
) -> float:
    """Return the hours that one GPU takes for all questions of a task."""
    task, gpu = column
    return N_QUESTIONS[task] * seconds(report, question, k, GPUS[gpu], shares) / SECONDS_PER_HOUR


def seconds(report: ModelReport, question: Question, k: int, gpu: str, shares: Shares) -> float:
    """Return the seconds of the GPU for one question."""
    device = find_accelerator(gpu)
    (cost,) = [cost for cost in report.costs if cost.num_experts_per_tok == k]
    prompt_flops = (cost.prefill_flops_per_token or 0) * question.prompt_tokens
    image_flops = (report.image_flops_per_patch or 0) * question.patches
    (step,) = cost.decode_steps
    step_bytes = (step.most_bytes or 0) / step.batch_size
    if device is None or not (prompt_flops and image_flops and step_bytes):
        message = f"the costs of {report.model} on {gpu} are not known"
        raise ValueError(message)
    prefill = (prompt_flops + image_flops) / (device.peak_flops_per_s[DTYPE] * shares.s_mfu)
    bandwidth = device.memory_bandwidth_bytes_per_s * shares.s_mbu
    return prefill + (question.answer_tokens - 1) * step_bytes / bandwidth


def measured_shares() -> tuple[Shares, Shares]:
    """Return the largest and the smallest shares that were measured at any k."""
    points = json.loads(MEASURED.read_text("utf-8"))["points"]
    s_mfu = [point["prefill"]["s_mfu"] for point in points]
    s_mbu = [point["decode"]["s_mbu"] for point in points]
    return Shares(max(s_mfu), max(s_mbu)), Shares(min(s_mfu), min(s_mbu))


def _inspected(question: Question, batch_size: int) -> ModelReport:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(SIZES, Path(folder) / "config.json")
        return moe.inspect(
            folder, context=question.prompt_tokens, batch_sizes=(batch_size,), dtype=DTYPE
        ).report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--patches", type=int, default=1200, help="of an image (default: 1200, for 640 x 480)"
    )
    parser.add_argument("--text-tokens", type=int, default=40, help="of a prompt (default: 40)")
    parser.add_argument("--answer-tokens", type=int, default=4, help="of an answer (default: 4)")
    parser.add_argument("--batch-size", type=int, default=16, help="(default: 16)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
