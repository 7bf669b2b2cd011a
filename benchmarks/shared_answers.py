"""Compare the answers of questions that share images with those of questions that share nothing.

Run ``python benchmarks/shared_answers.py``: the embedded model in float32 on all 9,673 questions of
easy-VQA at k = 8, 4, 2 and 1. Each question is answered both ways, and the log-probabilities of the
answer's tokens are added up. It exits with 1 unless at least 99.9% of the answers are equal, and
the sums of equal answers agree to 1e-4.

With ``--data FOLDER`` the questions are those of official files of OK-VQA and VQAv2 whose images
are there; see docs/how-to/use-local-data.md. Answers of the embedded model to them are nonsense,
and must be the same nonsense.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.engines.generation import read_settings
from moe_eval_plugin.engines.request import Job, QuestionCounter
from moe_eval_plugin.engines.transformers.batches.batch_runner import BatchRunner
from moe_eval_plugin.engines.transformers.batches.sharing_plan import plan_sharing
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.measure.stopwatch import Stopwatch
from moe_eval_plugin.vqa.images import read_image
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES, locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.engines.request import Conversation

INSTRUCTION = "\nAnswer the question using a single word or phrase."
MOST_TOKENS = 16
LEAST_EQUAL, TOLERANCE = 0.999, 1e-4


@dataclass
class Answers:
    """Text and summed log-probability of each answer, and the questions that shared an image."""

    texts: dict[int, str] = field(default_factory=dict)
    sums: dict[int, float] = field(default_factory=dict)
    n_shared: int = 0


class SummedLogProbabilities:
    """Adds up the log-probabilities of the tokens that ``generate`` chose, batch by batch."""

    def __init__(self, engine: HFEngine) -> None:
        self._engine = engine
        self._steps: list[torch.Tensor] = []
        self.of_batch: list[float] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch each batch of answers that the engine generates in the block."""
        generate = self._engine.generate_from

        def generate_from(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            self._steps.clear()
            found = generate(*args, **kwargs)
            likeliest = torch.stack(self._steps, dim=1).cumsum(1)
            self.of_batch += [
                float(likeliest[row, one.n_output_tokens - 1]) for row, one in enumerate(found)
            ]
            return found

        hook = self._engine.model.register_forward_hook(self._see)
        self._engine.generate_from = generate_from  # type: ignore[method-assign]
        try:
            yield
        finally:
            hook.remove()
            del self._engine.generate_from

    def _see(self, _module: Any, _args: Any, output: Any) -> None:  # noqa: ANN401
        # Greedy answers: the token that is chosen is the likeliest one.
        self._steps.append(output.logits[:, -1].float().log_softmax(-1).amax(-1))


class Listener:
    """The ``JobListener`` of a run: counts the questions that shared an image."""

    def __init__(self) -> None:
        self.n_shared = 0

    def batch_end(self, timing: Any, n_requests: int) -> bool:  # noqa: ANN401
        """Count the questions of a batch that shared an image."""
        self.n_shared += n_requests * timing.is_shared
        return False

    def refuse(self, job: Job, reason: str) -> None:
        """End the comparison: every question can be asked."""
        sys.exit(f"{job.describe()}: {reason}")

    def not_finite(self, job: Job) -> None:
        """End the comparison."""
        sys.exit(f"{job.describe()}: not finite")

    def request_failed(self, task: str) -> None:
        """Do nothing: such a question was refused."""


def answer(engine: HFEngine, jobs: Sequence[Job], how: str, batch_size: int) -> Answers:
    """Answer all jobs with ``share_images=how``."""
    sharing, listener = plan_sharing(engine, jobs, how), Listener()
    watch = SummedLogProbabilities(engine)
    found = Answers()
    runner = BatchRunner(
        engine,
        Stopwatch(lambda: None, None),
        listener,
        lambda timing, n: listener.batch_end(timing, n) and None,
        QuestionCounter(jobs),
        overlaps=False,
        sharing=sharing,
    )
    call = runner._call  # noqa: SLF001  (it knows which prompts a call answers)

    def called(prepared: Any, size: int) -> Any:  # noqa: ANN401
        watch.of_batch.clear()
        results = call(prepared, size)
        layout = prepared.encoded.layout
        order = range(len(results))
        if layout is not None:
            order = [number for chosen, _ in layout.parts(size) for number in chosen]
        indices = [prepared.jobs[number].index for number in order]
        found.sums.update(zip(indices, watch.of_batch, strict=True))
        return results

    runner._call = called  # type: ignore[method-assign]  # noqa: SLF001
    with watch.watching():
        outcome = runner.run(jobs, batch_size)
    found.texts = {index: one.text for index, one in outcome.answers.items()}
    found.n_shared = listener.n_shared
    return found


def compare(shared: Answers, plain: Answers) -> dict[str, Any]:
    """Count equal answers, and return the largest difference of the sums of these."""
    equal = [index for index, text in plain.texts.items() if shared.texts[index] == text]
    differences = [abs(shared.sums[index] - plain.sums[index]) for index in equal]
    return {
        "n_questions": len(plain.texts),
        "n_sharing": shared.n_shared,
        "n_equal": len(equal),
        "largest_difference": max(differences, default=0.0),
        "n_within_tolerance": sum(one <= TOLERANCE for one in differences),
    }


def easy_vqa_questions() -> list[tuple[str, int, Path, str]]:
    """List task, image, its path, and question."""
    from easy_vqa import get_test_image_paths, get_test_questions

    texts, _, images = get_test_questions()
    paths = get_test_image_paths()
    return [
        ("easy_vqa", int(image), Path(paths[image]), text)
        for text, image in zip(texts, images, strict=True)
    ]


def official_questions(folder: Path) -> list[tuple[str, int, Path, str]]:
    """List task, image, its path, and question, of official files, where the image is there."""
    found = []
    for name in ("okvqa", "vqa_v2_val"):
        paths = locate(name, folder)
        rows = json.loads(paths.questions.read_text(encoding="utf-8"))["questions"]
        for row in rows:
            path = paths.images / OFFICIAL_FILES[name].image_name.format(row["image_id"])
            if path.is_file():
                found.append((name, row["image_id"], path, row["question"]))
    return found


def make_jobs(questions: Sequence[tuple[str, int, Path, str]]) -> list[Job]:
    """Make a job of each question."""
    settings = read_settings({"max_new_tokens": MOST_TOKENS}, MOST_TOKENS)

    def build(path: Path, text: str) -> Conversation:
        image = {"type": "image", "image": read_image(path)}
        return [{"role": "user", "content": [image, {"type": "text", "text": text + INSTRUCTION}]}]

    return [
        Job(
            index=index,
            task=task,
            question=index,
            context=text,
            build=partial(build, path, text),
            settings=settings,
            read_image_key=partial(int, image),
        )
        for index, (task, image, path, text) in enumerate(questions)
    ]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pretrained", default="demo", help="default: %(default)s")
    parser.add_argument("--dtype", default="float32", help="default: %(default)s")
    parser.add_argument("--experts-k", type=int, nargs="+", default=[8, 4, 2, 1], metavar="K")
    parser.add_argument("--batch-size", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--limit", type=int, help="the first questions alone; default: all")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="official files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all counts to a file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare at each k, and print the counts."""
    options = parse(arguments)
    questions = official_questions(options.data) if options.data else easy_vqa_questions()
    jobs = make_jobs(questions[: options.limit])
    engine = HFEngine(EngineOptions(options.pretrained, dtype=options.dtype))
    results: dict[int, dict[str, Any]] = defaultdict(dict)
    print("   k  questions   sharing     equal   within 1e-4   largest difference")
    for k in options.experts_k:
        engine.set_experts(k)
        both = [answer(engine, jobs, how, options.batch_size) for how in ("auto", "no")]
        one = results[k] = compare(*both)
        print(
            f"{k:4}{one['n_questions']:11,}{one['n_sharing']:10,}{one['n_equal']:10,}"
            f"{one['n_within_tolerance']:14,}{one['largest_difference']:21.2e}",
            flush=True,
        )
    engine.close()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    fails = [
        k
        for k, one in results.items()
        if one["n_equal"] < LEAST_EQUAL * one["n_questions"]
        or one["n_within_tolerance"] < one["n_equal"]
    ]
    if fails:
        sys.exit(f"Sharing changed answers at k = {', '.join(map(str, fails))}.")


if __name__ == "__main__":
    main()
