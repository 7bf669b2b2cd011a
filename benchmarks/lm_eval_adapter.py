"""Compare moe_hf and moe_hf-multimodal in lm-eval with lm-eval's own hf and hf-multimodal.

Run ``python benchmarks/lm_eval_adapter.py`` in an environment with the package and lm-eval. Both
sides have the same weights, requests and batch size, in one process: questions of MMLU from
lm-eval's own files for a small OLMoE with random weights, and questions of easy-VQA with images for
the embedded model. Each pair is timed within moments, and the sides take turns to be first. A time
is that of the whole call of the host, so ours has the verification of k in it: four prompts,
however many questions there are. The ratio without it is given too. That the answers are equal is
checked, and the program exits with 1 if they are not.

``--save-model`` saves the OLMoE into a folder, for other measurements of it, and times nothing.
``--short`` takes a few questions and rounds: enough to see that it runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lm_eval
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.hf_vlms import HFMultimodalLM
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer, OlmoeConfig, OlmoeForCausalLM

from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from moe_eval_plugin.model_adapters.lm_eval_hf_multimodal import MoEHFMultimodalLM
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.results.versions import installed_versions
from moe_eval_plugin.stats.speed import paired_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from moe_eval_plugin.stats.speed import SpeedRatio

QUESTIONS = Path("tasks", "mmlu", "flan_cot_fewshot", "_cot_prompts.json")
QUESTION = re.compile(r"^Q: (.+?)\n(\(A\) .+)$", re.MULTILINE)
CHOICE = re.compile(r"\([A-D]\) ")
TASK = "task"
GENERATION = {"until": ["\n"], "do_sample": False}
WANTED = {"choices": 1.0, "answers": 1.0, "images": 3.0}
SIZES = {"hidden_size": 256, "intermediate_size": 128, "num_hidden_layers": 4}
OLMOE = {
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "max_position_embeddings": 2048,
    "bos_token_id": None,
}


@dataclass(frozen=True)
class Case:
    """Requests of one kind, and the two models that answer them."""

    kind: str
    method: str
    requests: Sequence[Instance]
    theirs: Any
    ours: Any

    def rounds(self, n: int) -> Iterator[tuple[float, float, float]]:
        """Yield the seconds of theirs, of ours, and of ours without the verification of k.

        There is one round before them that is not timed.
        """
        expected, _ = self._time(self.theirs)
        self._check(expected, self._time(self.ours)[0])
        for number in range(n):
            sides = (self.theirs, self.ours) if number % 2 == 0 else (self.ours, self.theirs)
            seconds = {}
            for side in sides:
                answers, seconds[id(side)] = self._time(side)
                self._check(expected, answers)
            answering_s = self.ours.moe_eval_records[TASK].speed.wall_s
            yield seconds[id(self.theirs)], seconds[id(self.ours)], answering_s

    def _time(self, model: Any) -> tuple[list[Any], float]:  # noqa: ANN401  (a model of the host)
        # Ours leaves what it loaded out of the garbage collection that lm-eval's class does after
        # each batch with images. In a process of its own, theirs does not have this.
        gc.unfreeze()
        if isinstance(model, MoEHFMultimodalLM):
            gc.freeze()
        begin = time.perf_counter()
        answers = getattr(model, self.method)(list(self.requests), disable_tqdm=True)
        return answers, time.perf_counter() - begin

    def _check(self, expected: Sequence[Any], answers: Sequence[Any]) -> None:
        differing = [i for i, one in enumerate(expected) if one != answers[i]]
        if differing:
            shown = "; ".join(f"{i}: {expected[i]} / {answers[i]}" for i in differing[:3])
            sys.exit(f"{self.kind}: {len(differing)} answers of the two sides differ. {shown}")


def save_model(folder: Path, **sizes: int) -> str:
    """Save an OLMoE with random weights and the tokenizer of the embedded model."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    tokens = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model = OlmoeForCausalLM(OlmoeConfig(vocab_size=len(tokenizer), **OLMOE, **tokens, **sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def questions() -> Iterator[tuple[str, list[str]]]:
    """Yield the questions of MMLU that come with lm-eval, each with its four choices."""
    path = Path(lm_eval.__file__).parent / QUESTIONS
    for text in json.loads(path.read_text("utf-8")).values():
        for question, choices in QUESTION.findall(text):
            yield f"Q: {question}\n{choices}\nA:", CHOICE.split(choices)[1:]


def scored(limit: int) -> list[Instance]:
    """Return a request for each choice of the first questions."""
    asked = list(questions())[:limit]
    return [
        Instance("loglikelihood", {}, (context, f" {choice.strip()}"), 0, (TASK, number, 1))
        for number, (context, choices) in enumerate(asked)
        for choice in choices
    ]


def generated(limit: int, n_tokens: int) -> list[Instance]:
    """Return a request for an answer to each of the first questions."""
    how = {**GENERATION, "max_gen_toks": n_tokens}
    asked = list(questions())[:limit]
    return [
        Instance("generate_until", {}, (context, how), 0, (TASK, number, 1))
        for number, (context, _) in enumerate(asked)
    ]


def with_images(limit: int, ask: Callable[[str], str]) -> list[Instance]:
    """Return requests of easy-VQA; ``ask`` makes the prompt of a question."""
    from easy_vqa import get_test_image_paths, get_test_questions
    from PIL import Image

    asked, _, images = get_test_questions()
    paths, how = get_test_image_paths(), {**GENERATION, "max_gen_toks": 4}
    found = []
    for number in range(limit):
        with Image.open(paths[images[number]]) as file:
            image = file.convert("RGB")
        arguments = (ask(asked[number]), how, {"visual": [image]})
        found.append(Instance("generate_until", {}, arguments, 0, (TASK, number, 1)))
    return found


def text_cases(folder: Path, options: argparse.Namespace) -> Iterator[Case]:
    """Yield the cases without images."""
    sizes = {name: size // 8 for name, size in SIZES.items()} if options.short else SIZES
    sizes = {**sizes, "num_hidden_layers": 2} if options.short else sizes
    name = save_model(folder, **sizes)
    shared = {"device": options.device, "batch_size": options.batch_size, "dtype": "float32"}
    theirs, ours = HFLM(name, **shared), MoEHFLM(name, experts_k=4, **shared)
    yield Case("choices", "loglikelihood", scored(options.limit), theirs, ours)
    requests = generated(options.limit, 4 if options.short else 16)
    yield Case("answers", "generate_until", requests, theirs, ours)


def image_case(options: argparse.Namespace) -> Case:
    """Return the case with images."""
    shared = {"device": options.device, "batch_size": options.batch_size, "dtype": "float32"}
    theirs = HFMultimodalLM(str(MODEL_PATH), **shared)
    ours = MoEHFMultimodalLM("demo", experts_k=8, **shared)
    theirs.chat_applied = ours.chat_applied = True

    def ask(question: str) -> str:
        text = f"<image>{question}\nAnswer the question using a single word or phrase."
        prompt: str = theirs.apply_chat_template([{"role": "user", "content": text}])
        return prompt

    return Case("images", "generate_until", with_images(options.limit, ask), theirs, ours)


def report(
    case: Case, pairs: Sequence[tuple[float, float, float]]
) -> tuple[SpeedRatio, dict[str, Any]]:
    """Print the ratio of a case; return it with all figures."""
    theirs, ours, answering = ([pair[side] for pair in pairs] for side in range(3))
    ratio, without = paired_ratio(ours, theirs), paired_ratio(answering, theirs)
    n, wanted = len({one.doc_id for one in case.requests}), WANTED[case.kind]
    print(
        f"{case.kind}: {type(case.ours).__name__} {ratio.text} as fast as "
        f"{type(case.theirs).__name__}, {n} questions, {len(pairs)} pairs; wanted: {wanted}; "
        f"without the verification of k {without.text}"
    )
    interval = ratio.interval
    return ratio, {
        "ratio": ratio.ratio,
        "interval": [interval.low, interval.high] if interval else None,
        "without_verification": {
            "ratio": without.ratio,
            "interval": [without.interval.low, without.interval.high] if without.interval else None,
        },
        "wanted": wanted,
        "n_questions": n,
        "theirs_s": theirs,
        "ours_s": ours,
        "ours_answering_s": answering,
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, default=64, help="questions; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=8, help="pairs; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; default: %(default)s")
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument("--short", action="store_true", help="a few questions and two pairs")
    parser.add_argument("--save-model", type=Path, metavar="DIR", help="save the OLMoE, and end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    options = parser.parse_args(arguments)
    if options.short:
        options.limit, options.rounds = 4, 2
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Time all cases; print the ratios, and write the figures if asked to."""
    options = parse(arguments)
    if options.save_model is not None:
        save_model(options.save_model, **SIZES)
        return
    torch.set_num_threads(options.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in text_cases(Path(folder), options):
            figures[case.kind] = report(case, list(case.rounds(options.rounds)))[1]
        images = image_case(options)
        figures[images.kind] = report(images, list(images.rounds(options.rounds)))[1]
    if options.json:
        facts = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} cores of {platform.machine()}, {platform.system()}",
            "versions": installed_versions(),
            "batch_size": options.batch_size,
            "n_threads": options.threads,
            "device": options.device,
            "cases": figures,
        }
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
