"""Answer easy-VQA with the embedded model at each k, and time the k against each other in blocks.

``run.sh`` calls it. Every k is verified first. Then batches of questions, in a random order, are
encoded once and answered at every k, so that all k have answered the same questions whenever time
ends. At last the k are timed: in each block all of them answer the same questions, in rotating
order, nothing shared or cached, until every interval is narrow enough or time ends. It writes
``demo.json`` as it goes, and a file of blocks for each batch size to ``timing/``.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.generation import read_settings
from moe_eval_plugin.engines.request import PROMPTS_TO_VERIFY, Job, QuestionCounter
from moe_eval_plugin.engines.transformers.batch_runner import prepare
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.job_runner import JobRunner
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.files import write_whole
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.hardware.meter import HardwareMeter
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.measure.synchronize import synchronize
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.models.demo.recipe import POST_PROMPT
from moe_eval_plugin.results.timed_pass import FOLDER, TimedBlock, TimedPass
from moe_eval_plugin.tasks.vqa import score_exact_match
from moe_eval_plugin.vqa.dataset import load_easy_vqa
from moe_eval_plugin.vqa.images import open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.measure.timing import BatchTiming
    from moe_eval_plugin.vqa.dataset import Record

TASK = "easy_vqa"
BASELINE = 8
SEED = 0
MAX_NEW_TOKENS = 16
LEAST_BLOCKS = 8
# A block of fewer questions is over too soon to be timed well.
QUESTIONS_OF_A_BLOCK = 16
SECONDS_BETWEEN_WRITES = 5.0


class Results:
    """The content of ``demo.json``, written whole at most every few seconds."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.content = head
        self._path = path
        self._written_s = 0.0

    def write(self, *, now: bool = True) -> None:
        """Write what is known; without ``now``, only if this was some seconds ago."""
        if now or time.monotonic() - self._written_s > SECONDS_BETWEEN_WRITES:
            write_whole(self._path, json.dumps(self.content, indent=1) + "\n")
            self._written_s = time.monotonic()


class BatchList:
    """Keeps the times of batches; a question without an answer ends the program."""

    def __init__(self) -> None:
        self.batches: list[BatchTiming] = []

    def batch_end(self, timing: BatchTiming, _n_requests: int) -> bool:
        """Keep a batch."""
        self.batches.append(timing)
        return False

    def refuse(self, job: Job, reason: str) -> None:
        """End the program: the questions of this task can all be answered."""
        message = f"{job.describe()} cannot be put to the model: {reason}"
        raise RuntimeError(message)

    def not_finite(self, job: Job) -> None:
        """End the program: this model computes numbers."""
        message = f"{job.describe()} was answered from NaN or infinity."
        raise RuntimeError(message)

    def request_failed(self, task: str) -> None:
        """Do nothing: the program has ended before."""


class Demo:
    """The embedded model with its questions; all methods record what they find."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        engine_options = EngineOptions(
            pretrained="demo", dtype=options.dtype, device=options.device
        )
        self._engine = HFEngine(engine_options)
        self._records = load_easy_vqa().records
        order = random.Random(SEED).sample(range(len(self._records)), len(self._records))  # noqa: S311
        self._jobs = [make_job(number, self._records[number]) for number in order]
        self._names = {k: f"k{k}" for k in options.experts_k}
        self.results = Results(options.out / "demo.json", self._head())
        self.results.write()

    def verify(self) -> None:
        """Observe every k on the first questions; a wrong one ends the program."""
        conversations = [job.build() for job in self._jobs[:PROMPTS_TO_VERIFY]]
        for k, name in self._names.items():
            self._engine.set_experts(k)
            verified = self._engine.verify(conversations)
            self.results.content["settings"][name] = {
                "num_experts_per_tok": k,
                "observed_num_experts_per_tok": verified.observed,
                "n_layers": verified.n_layers,
                "exact_match_on_cpu": self._on_cpu.get(k),
            }
        self.results.write()

    def answer(self, seconds: float) -> None:
        """Answer questions at every k until all are answered or time ends."""
        size, jobs = self._options.answer_batch, self._jobs[: self._options.limit]
        right = dict.fromkeys(self._names, 0)
        kept = dict.fromkeys(self._names, 0)
        begin, n = time.monotonic(), 0
        for batch in (jobs[at : at + size] for at in range(0, len(jobs), size)):
            if time.monotonic() - begin > seconds:
                break
            encoded = prepare(self._engine, batch).encoded
            at_baseline: list[float] = []
            for k in sorted(self._names, reverse=True):
                self._engine.set_experts(k)
                answers = self._engine.generate(encoded, batch[0].settings.arguments)
                scores = [
                    self._score(job, one.text) for job, one in zip(batch, answers, strict=True)
                ]
                at_baseline = at_baseline or scores
                right[k] += int(sum(scores))
                kept[k] += int(sum(a * b for a, b in zip(scores, at_baseline, strict=True)))
            n += len(batch)
            self._record_answers(n, right, kept, time.monotonic() - begin)
        self.results.write()

    def time(self, batch_size: int, seconds: float) -> None:
        """Time all k in blocks, until every interval is narrow enough or time ends."""
        per_block = max(QUESTIONS_OF_A_BLOCK, batch_size)
        found = TimedPass(
            task=TASK,
            batch_size=batch_size,
            settings=tuple(self._names.values()),
            baseline=self._names[BASELINE],
            sample=tuple(job.index for job in self._jobs),
            seed=SEED,
            precision=self._options.precision,
            budget_s=seconds,
            identity=self.results.content["run"],
        )
        path = self._options.out / FOLDER / f"{TASK}-b{batch_size}.jsonl"
        path.parent.mkdir(exist_ok=True)
        begin, number = time.monotonic(), 0
        with path.open("w", encoding="utf-8") as file, self._engine.phase_recorder() as phases:
            print(json.dumps(found.header()), file=file, flush=True)
            while found.ended_by is None:
                at = number * per_block % (len(self._jobs) - per_block)
                order = list(self._names)[number % len(self._names) :]
                order += list(self._names)[: number % len(self._names)]
                block = self._block(order, self._jobs[at : at + per_block], batch_size, phases)
                block = replace(block, is_warm_up=number == 0)
                print(json.dumps(block.to_dict()), file=file, flush=True)
                found = replace(found, blocks=(*found.blocks, block))
                found = replace(found, ended_by=self._end(found, time.monotonic() - begin))
                number += 1
                self._record_speed(found)
            print(json.dumps({"ended_by": found.ended_by}), file=file, flush=True)
        self.results.write()

    def _block(
        self,
        order: Sequence[int],
        jobs: Sequence[Job],
        batch_size: int,
        phases: Any,  # noqa: ANN401
    ) -> TimedBlock:
        batches, hardware = {}, {}
        for k in order:
            self._engine.set_experts(k)
            heard, meter = BatchList(), HardwareMeter(self._options.device)
            watch = Stopwatch(lambda: synchronize(self._options.device), phases)
            runner = JobRunner(self._engine, watch, heard, QuestionCounter(jobs), batch_size)
            meter.start()
            watch.restart()
            runner.answer(jobs, {})
            meter.batch_end(TASK, is_last=True)
            batches[self._names[k]] = tuple(heard.batches)
            hardware[self._names[k]] = meter.finish()[TASK]
        return TimedBlock(tuple(self._names[k] for k in order), batches, hardware=hardware)

    def _end(self, found: TimedPass, spent_s: float) -> Any:  # noqa: ANN401  (EndedBy or None)
        others = [found.speed_up(name) for name in found.settings if name != found.baseline]
        widths = [one.width if one else None for one in others]
        precise = all(width is not None and width < found.precision for width in widths)
        if precise and len(found.counted) >= LEAST_BLOCKS:
            return "precision"
        return "budget" if spent_s > found.budget_s and len(found.counted) > 1 else None

    def _record_answers(
        self, n: int, right: dict[int, int], kept: dict[int, int], seconds: float
    ) -> None:
        self.results.content["answering"] = {
            "n_questions": n,
            "n_questions_of_task": len(self._records),
            "batch_size": self._options.answer_batch,
            "seconds_of_all_settings": seconds,
        }
        for k, name in self._names.items():
            self.results.content["settings"][name].update(
                exact_match=right[k] / n,
                n_right=right[k],
                n_right_here_and_at_baseline=kept[k],
            )
        self.results.write(now=False)

    def _record_speed(self, found: TimedPass) -> None:
        self.results.content["speed"][f"b{found.batch_size}"] = {
            "n_blocks": len(found.counted),
            "ended_by": found.ended_by,
            "speed_up": {name: as_plain(found.speed_up(name)) for name in found.settings},
            "model_speed_up": {
                name: as_plain(found.model_speed_up(name)) for name in found.settings
            },
            "rates": {
                name: speed.to_dict() for name in found.settings if (speed := found.speed(name))
            },
            "hardware": {name: found.hardware(name).to_dict() for name in found.settings},
        }
        self.results.write(now=False)

    @property
    def _on_cpu(self) -> dict[int, float]:
        """The accuracy at each k of the model's card, which was measured on a CPU."""
        rows = json.loads((MODEL_PATH / "accuracy.json").read_text("utf-8"))["rows"]
        return {row["num_experts_per_tok"]: row["exact_match"] for row in rows}

    def _score(self, job: Job, text: str) -> float:
        return float(str(score_exact_match(self._records[job.index], [text]).scores["exact_match"]))

    def _head(self) -> dict[str, Any]:
        model = self._engine.model
        return {
            "kind": "demo on a GPU",
            "run": {
                "task": TASK,
                "device": describe_device(self._options.device).to_dict(),
                "dtype": str(model.dtype).removeprefix("torch."),
                "seed": SEED,
            },
            "settings": {},
            "speed": {},
        }


def make_job(number: int, record: Record) -> Job:
    """Return a question as a request, in the words of the task ``easy_vqa``."""
    text = record["question"] + POST_PROMPT

    def build() -> Conversation:
        image = {"type": "image", "image": open_image(record["image"], record["question_id"])}
        return [{"role": "user", "content": [image, {"type": "text", "text": text}]}]

    settings = read_settings({"do_sample": False}, MAX_NEW_TOKENS)
    return Job(number, TASK, number, text, build, settings, read_id=lambda: number)


def as_plain(ratio: Any) -> dict[str, Any] | None:  # noqa: ANN401  (SpeedRatio or None)
    """Return a speed-up as plain JSON data."""
    if ratio is None:
        return None
    interval = ratio.interval and [ratio.interval.low, ratio.interval.high]
    return {
        "ratio": ratio.ratio,
        "interval": interval,
        "confidence": ratio.interval and ratio.interval.confidence,
        "ratio_of_totals": ratio.ratio_of_totals,
        "n_blocks": ratio.n_pairs,
    }


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--small", action="store_true", help="64 questions on the CPU, for CI")
    parser.add_argument("--seconds", type=float, default=100, help="default: %(default)s")
    parser.add_argument("--experts-k", type=int, nargs="+", default=[8, 4, 2, 1], metavar="K")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16], metavar="N")
    parser.add_argument("--answer-batch", type=int, default=128, metavar="N")
    parser.add_argument("--limit", type=int, metavar="N", help="questions; default: all")
    parser.add_argument("--precision", type=float, default=0.03, help="default: %(default)s")
    parser.add_argument("--device", default="cuda:0", help="default: %(default)s")
    parser.add_argument("--dtype", default="bfloat16", help="default: %(default)s")
    options = parser.parse_args()
    if options.small:
        options.device, options.dtype = "cpu", "float32"
        options.limit, options.batch_sizes, options.seconds = 64, [16], min(options.seconds, 12)
    return options


def main() -> None:
    """Verify, answer and time."""
    begin, options = time.monotonic(), parse()
    demo = Demo(options)
    demo.verify()
    left_s = options.seconds - (time.monotonic() - begin)
    demo.answer(left_s / 2)
    for number, batch_size in enumerate(options.batch_sizes):
        left_s = options.seconds - (time.monotonic() - begin)
        demo.time(batch_size, left_s / (len(options.batch_sizes) - number))
    demo.results.content["is_complete"] = True
    demo.results.write()


if __name__ == "__main__":
    main()
