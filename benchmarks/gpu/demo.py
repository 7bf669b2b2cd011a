"""Answer easy-VQA with the embedded model at each k, and time the k against each other in blocks.

``run.sh`` calls it. Every k is verified first. Then batches of questions, in a random order, are
encoded once and answered at every k, so that all k have answered the same questions whenever time
ends. At last the k are timed: in each block all of them answer the same questions, in drawn
order, nothing shared or cached, until every interval is narrow enough or time ends. It writes
``demo.json`` as it goes, and a file of blocks for each batch size to ``timing/``.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.generation import read_settings
from moe_eval_plugin.engines.request import PROMPTS_TO_VERIFY, Job
from moe_eval_plugin.engines.transformers.batches.preparing import prepare
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.files import write_whole
from moe_eval_plugin.hardware.device import describe_device
from moe_eval_plugin.hardware.meter import HardwareMeter
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.measure.synchronize import synchronize
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.models.demo.recipe import POST_PROMPT
from moe_eval_plugin.results.timing.timed_pass import TimedPass
from moe_eval_plugin.results.versions import installed_versions
from moe_eval_plugin.sweeps.plan import SweepPoint
from moe_eval_plugin.sweeps.timing.interleaved import run_pass
from moe_eval_plugin.sweeps.timing.resident import ResidentBlocks
from moe_eval_plugin.sweeps.timing.sample import choose_sample, make_blocks
from moe_eval_plugin.tasks.vqa import score_exact_match
from moe_eval_plugin.vqa.dataset import load_easy_vqa
from moe_eval_plugin.vqa.images import open_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.vqa.dataset import Record

TASK = "easy_vqa"
SEED = 0
MAX_NEW_TOKENS = 16
# One block has no interval.
LEAST_BLOCKS = 2
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


class DemoTimer:
    """The ``Timer`` of the demo: one loaded model, whose k is set before each batch."""

    def __init__(self, engine: HFEngine, jobs: Sequence[Job], names: Mapping[int, str]) -> None:
        self.engine = engine
        self._jobs = jobs
        self._points = {name: SweepPoint(name, str(k)) for k, name in names.items()}

    @property
    def device(self) -> str:
        """The device of the model."""
        return str(self.engine.input_device)

    def meter(self) -> HardwareMeter:
        """Return a new meter of memory and energy."""
        return HardwareMeter(self.device)

    @contextmanager
    def blocks(self, wanted: TimedPass) -> Iterator[ResidentBlocks]:
        """Divide the questions of the sample into blocks; phases are recorded."""
        size, jobs = wanted.batch_size, [self._jobs[position] for position in wanted.sample]
        batches = [jobs[at : at + size] for at in range(0, len(jobs), size)]
        blocks = make_blocks(batches, size, wanted.seed)
        with self.engine.phase_recorder() as phases:
            watch = Stopwatch(lambda: synchronize(self.device), phases)
            yield ResidentBlocks(self, self._points, blocks, watch, size)


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
        self._names = {k: f"k{k}" for k in sorted(options.experts_k, reverse=True)}
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
            if n and time.monotonic() - begin > seconds:
                break
            encoded = prepare(self._engine, batch).encoded
            at_baseline: list[float] = []
            for k in self._names:
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
        names = tuple(self._names.values())
        wanted = TimedPass(
            task=TASK,
            batch_size=batch_size,
            settings=names,
            baseline=names[0],
            sample=choose_sample(len(self._jobs), SEED),
            seed=SEED,
            precision=self._options.precision,
            budget_s=max(0.0, seconds),
            identity=self.results.content["run"],
        )
        by_position = sorted(self._jobs, key=lambda job: job.index)
        timer = DemoTimer(self._engine, by_position, self._names)
        found = run_pass(self._options.out, wanted, timer, self._record_speed)
        while len(found.counted) < LEAST_BLOCKS:
            # It goes on where it ended.
            wanted = replace(wanted, budget_s=2 * wanted.budget_s + 1)
            found = run_pass(self._options.out, wanted, timer, self._record_speed)
        self._record_speed(found)
        self.results.write()

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
                "versions": installed_versions(),
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


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--small", action="store_true", help="64 questions on the CPU, for CI")
    parser.add_argument("--seconds", type=float, default=100, help="default: %(default)s")
    parser.add_argument("--experts-k", type=int, nargs="+", default=[8, 4, 2, 1], metavar="K")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16, 64], metavar="N")
    parser.add_argument("--answer-batch", type=int, default=128, metavar="N")
    parser.add_argument("--limit", type=int, metavar="N", help="questions; default: all")
    parser.add_argument("--precision", type=float, default=0.03, help="default: %(default)s")
    parser.add_argument("--device", default="cuda:0", help="default: %(default)s")
    parser.add_argument("--dtype", default="bfloat16", help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.small:
        options.device, options.dtype = "cpu", "float32"
        options.limit, options.batch_sizes, options.seconds = 64, [16], min(options.seconds, 12)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Verify, answer and time."""
    begin, options = time.monotonic(), parse(arguments)
    demo = Demo(options)
    demo.verify()
    left_s = options.seconds - (time.monotonic() - begin)
    demo.answer(0.6 * left_s)
    for number, batch_size in enumerate(options.batch_sizes):
        left_s = options.seconds - (time.monotonic() - begin)
        demo.time(batch_size, left_s / (len(options.batch_sizes) - number))
    demo.results.content["is_complete"] = True
    demo.results.write()


if __name__ == "__main__":
    main()
