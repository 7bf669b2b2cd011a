"""Compare moe_hf with lmms-eval's own adapter for the same architecture, with the real command.

Run ``python benchmarks/overhead.py`` in an environment with the package and with what that adapter
needs besides: ``pip install decord qwen-vl-utils``. Both answer the same questions of easy-VQA with
the embedded model at its own k: same weights, batch size and data type, in alternation. That the
prompts, the images and the answers are equal is checked, and it exits with 1 if they are not.

``moe_hf`` shares an image among its questions; for the comparison of inputs that is turned off.
With ``--like-vqav2`` there are five questions to an image of 256 tokens.

The peer is ``--model qwen3_vl``. It takes a model for a Mixture of Experts by its name, so it is
given a copy in a folder of such a name; and it always adds a system message, so that is empty, and
the chat template of the copy leaves empty messages out. Both are given the same copy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.results.versions import installed_versions
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LAUNCHER = Path(__file__).with_name("timed_lmms_eval.py")
PEER, OURS = "qwen3_vl", "moe_hf"
MODEL_ARGS = {
    PEER: "pretrained={folder},device={device},device_map={device},system_prompt=",
    OURS: "pretrained={folder},device={device}",
}
DATA = "data"
# How the arguments of ours differ where inputs are compared, or profiling is measured.
SHARES_NOTHING = ",share_images=no"
FOLDER_NAME = "demo-30B-A3B-Instruct"
NO_EMPTY_MESSAGES = (
    "{%- set messages = messages | "
    "rejectattr('content', 'equalto', [{'type': 'text', 'text': ''}]) | list -%}\n"
)
NEEDED = {"decord": "decord", "qwen_vl_utils": "qwen-vl-utils"}
TASK = "easy_vqa"
# Questions like those of VQAv2: a task that reads official files, and the drawings enlarged.
LARGE_TASK, QUESTIONS_OF_AN_IMAGE, LARGE_SIDE = "vqa_v2_val", 5, 256
FIGURES = ("requests_s", "requests_cpu_s", "generate_s", "process_s", "process_cpu_s")


@dataclass(frozen=True)
class Run:
    """One process of lmms-eval.

    ``requests_s`` reaches from the first request to the last answer, preprocessing included; the
    verification pass of ``moe_hf`` is not in it, but in ``verification_s``. ``generate_s`` is the
    part of it inside transformers' ``generate``; the rest reads, preprocesses and decodes. ``cpu``
    is processor time over all threads.
    """

    model: str
    requests_s: float
    requests_cpu_s: float
    generate_s: float
    verification_s: float
    process_s: float
    process_cpu_s: float


class Comparison:
    """Runs both models at one batch size, and checks that they do the same."""

    def __init__(self, folder: Path, batch_size: int, options: argparse.Namespace) -> None:
        self._folder = folder
        self._batch_size = batch_size
        self._limit: int = options.limit
        self._n_threads: int = options.threads
        self._device: str = options.device
        self._task: str = LARGE_TASK if options.like_vqav2 else TASK
        self._answers: dict[int, str] | None = None

    def alternate(self, n_rounds: int, *, inputs: bool = False) -> Iterator[tuple[Run, Run]]:
        """Run both in each round, peer first and ours first in turn; peer and ours.

        With ``inputs``, which takes time, nothing is shared, and it exits if they do not get the
        same prompts and images.
        """
        options = ("--inputs",) if inputs else ()
        for number in range(n_rounds):
            order = (PEER, OURS) if number % 2 == 0 else (OURS, PEER)
            runs = {model: self._run(model, *options, shares=not inputs) for model in order}
            digests = [runs[model][1]["inputs"] for model in (PEER, OURS)]
            if digests[0] != digests[1]:
                sys.exit(f"The models did not get the same inputs: {json.dumps(digests, indent=1)}")
            yield runs[PEER][0], runs[OURS][0]

    def profiling(self, n_rounds: int) -> list[dict[str, dict[str, float]]]:
        """Answer all requests with profiling off and on in turn, within one process."""
        report = self._run(OURS, "--alternate-profile", str(n_rounds), shares=False)[1]
        rounds: list[dict[str, dict[str, float]]] = report["profiles"]
        return rounds

    def _run(self, model: str, *options: str, shares: bool = True) -> tuple[Run, dict[str, Any]]:
        arguments = MODEL_ARGS[model].format(folder=self._folder, device=self._device)
        if model == OURS and not shares:
            arguments += SHARES_NOTHING
        with tempfile.TemporaryDirectory() as folder:
            report_file = Path(folder) / "report.json"
            command = [
                *(sys.executable, str(LAUNCHER), str(report_file), *options, "--"),
                *("--model", model, "--model_args", arguments, "--tasks", self._task),
                *("--batch_size", str(self._batch_size), "--limit", str(self._limit)),
                *("--log_samples", "--output_path", folder),
            ]
            process_s, process_cpu_s = self._time_process(command, report_file)
            report = json.loads(report_file.read_text(encoding="utf-8"))
            self._check_answers(model, Path(folder))
        requests, verification_s = report["requests"], report["verification"]["wall_s"]
        run = Run(
            model,
            requests_s=requests["wall_s"],
            requests_cpu_s=requests["cpu_s"],
            generate_s=report["generation"]["wall_s"],
            verification_s=verification_s,
            process_s=process_s,
            process_cpu_s=process_cpu_s,
        )
        return run, report

    def _time_process(self, command: Sequence[str], report: Path) -> tuple[float, float]:
        """Run a command to its end; give its wall time and its processor time.

        lmms-eval ends with 0 when a model fails, so it must have left a report too.
        """
        surroundings = {**os.environ, "OMP_NUM_THREADS": str(self._n_threads)}
        surroundings.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
        if self._task == LARGE_TASK:
            surroundings["MOE_EVAL_DATA"] = str(self._folder.parent / DATA)
        before, begin = os.times(), time.perf_counter()
        done = subprocess.run(  # noqa: S603
            command, env=surroundings, capture_output=True, text=True, check=False
        )
        wall_s, after = time.perf_counter() - begin, os.times()
        if done.returncode != 0 or not report.is_file():
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        user_s = after.children_user - before.children_user
        return wall_s, user_s + after.children_system - before.children_system

    def _check_answers(self, model: str, folder: Path) -> None:
        """Exit if a model does not answer as the first one did."""
        (file,) = folder.rglob(f"*_samples_{self._task}.jsonl")
        samples = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        answers = {sample["doc_id"]: sample["filtered_resps"][0] for sample in samples}
        first = self._answers = self._answers or answers
        differing = [i for i in first.keys() | answers.keys() if first.get(i) != answers.get(i)]
        if differing or len(answers) != self._limit:
            shown = "; ".join(f"{i}: {first.get(i)} / {answers.get(i)}" for i in differing[:5])
            sys.exit(
                f"{model} gave {len(answers)} answers, {len(differing)} of them unlike the first "
                f"run's, at batch size {self._batch_size}. {shown}"
            )


def copy_model(folder: Path) -> Path:
    """Copy the embedded model to where the peer takes it for what it is."""
    copy = Path(shutil.copytree(MODEL_PATH, folder / FOLDER_NAME))
    template = copy / "chat_template.jinja"
    text = template.read_text(encoding="utf-8")
    template.write_text(NO_EMPTY_MESSAGES + text, encoding="utf-8")
    return copy


def enlarge_images(model: Path) -> None:
    """Set the images of a copy of the model to ``LARGE_SIDE`` pixels a side, 16 to a token."""
    path = model / "processor_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edges = ("shortest_edge", "longest_edge")
    content["image_processor"]["size"] = dict.fromkeys(edges, LARGE_SIDE**2)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_questions(folder: Path, n_questions: int) -> None:
    """Write drawings of easy-VQA, enlarged, with five questions each, as VQAv2's official files."""
    from easy_vqa import get_test_image_paths, get_test_questions
    from PIL import Image

    files = OFFICIAL_FILES[LARGE_TASK]
    images = folder / files.image_folder
    images.mkdir(parents=True)
    paths, of_images = get_test_image_paths(), defaultdict(list)
    for text, answer, image in zip(*get_test_questions(), strict=True):
        of_images[int(image)].append((text, answer))
    full = [image for image, rows in of_images.items() if len(rows) >= QUESTIONS_OF_AN_IMAGE]
    questions, annotations = [], []
    for image in full[: -(-n_questions // QUESTIONS_OF_AN_IMAGE)]:
        with Image.open(paths[image]) as drawn:
            large = drawn.convert("RGB").resize((LARGE_SIDE, LARGE_SIDE))
        large.save(images / files.image_name.format(image + 1))
        for number, (text, answer) in enumerate(of_images[image][:QUESTIONS_OF_AN_IMAGE]):
            ids = {"question_id": 10 * (image + 1) + number, "image_id": image + 1}
            answers = [{"answer": answer, "answer_id": n} for n in range(1, 11)]
            types = {"question_type": "what", "answer_type": "other"}
            questions.append({**ids, "question": text})
            annotations.append({**ids, **types, "answers": answers})
    head = {"data_subtype": files.subtypes[0]}
    for name, part in ((files.questions, "questions"), (files.annotations, "annotations")):
        content = {**head, part: questions if part == "questions" else annotations}
        (folder / str(name)).write_text(json.dumps(content), encoding="utf-8")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, the smallest and the largest of some values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(pairs: Sequence[tuple[Run, Run]]) -> dict[str, dict[str, float]]:
    """Divide the peer's figures by ours, round by round: above 1, moe_hf is faster."""
    return {
        name: spread([getattr(peer, name) / getattr(ours, name) for peer, ours in pairs])
        for name in FIGURES
    }


def profiling_cost(
    rounds: Sequence[Mapping[str, Mapping[str, float]]],
) -> dict[str, dict[str, float]]:
    """Divide the figures with profiling by those without, round by round."""
    return {
        name: spread([one["basic"][name] / one["off"][name] for one in rounds])
        for name in ("wall_s", "cpu_s")
    }


def show(batch_size: int, pairs: Sequence[tuple[Run, Run]]) -> None:
    """Print the medians of both, and the ratios with their spread."""
    print(f"\nbatch size {batch_size}, {len(pairs)} rounds; median [smallest, largest]", flush=True)
    print(f"{'':16}{PEER:>12}{OURS:>12}   {PEER} / {OURS}")
    for name, ratio in ratios(pairs).items():
        peer, ours = (statistics.median(getattr(p[i], name) for p in pairs) for i in (0, 1))
        print(f"{name:16}{peer:12.2f}{ours:12.2f}   {_in_words(ratio)}")
    verification_s = statistics.median(ours.verification_s for _, ours in pairs)
    print(f"{'verification_s':16}{'':12}{verification_s:12.2f}")


def _in_words(values: Mapping[str, float]) -> str:
    return f"{values['median']:.3f} [{values['min']:.3f}, {values['max']:.3f}]"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, default=500, help="questions; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16], metavar="N")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="threads of PyTorch in both; on busy cores, more wait for each other; default: 1",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...; default: %(default)s")
    parser.add_argument(
        "--profile-rounds",
        type=int,
        default=5,
        help="rounds of moe_hf with profiling off and on, within one process; default: %(default)s",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    parser.add_argument(
        "--like-vqav2", action="store_true", help="five questions to an image of 256 tokens"
    )
    parser.add_argument(
        "--short", action="store_true", help="16 questions, no round of its own: for CI"
    )
    options = parser.parse_args(arguments)
    if options.short:
        # The runs in which inputs are compared stand for a round.
        options.limit, options.rounds, options.profile_rounds = 16, 0, 1
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        parser.error(f"--model {PEER} needs more packages: pip install {' '.join(missing)}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare at each batch size; print the figures, and write them if asked to."""
    options = parse(arguments)
    figures: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores of {platform.machine()}, {platform.system()}",
        "versions": installed_versions(),
        "n_questions": options.limit,
        "n_threads": options.threads,
        "device": options.device,
        "like_vqav2": options.like_vqav2,
        "batch_sizes": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        model = copy_model(Path(folder))
        if options.like_vqav2:
            enlarge_images(model)
            write_questions(Path(folder) / DATA, options.limit)
        for batch_size in options.batch_sizes:
            comparison = Comparison(model, batch_size, options)
            compared = list(comparison.alternate(1, inputs=True))
            pairs = list(comparison.alternate(options.rounds)) or compared
            show(batch_size, pairs)
            cost = profiling_cost(comparison.profiling(options.profile_rounds))
            print(f"profiling on / off: wall {_in_words(cost['wall_s'])}")
            print(f"profiling on / off: cpu  {_in_words(cost['cpu_s'])}")
            figures["batch_sizes"][batch_size] = {
                "runs": [asdict(run) for pair in pairs for run in pair],
                "ratios": ratios(pairs),
                "profiling": cost,
            }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
