"""Real questions out of lm-eval's own wheel, for tests without a network.

The wheel carries the few-shot examples of some benchmarks: 282 questions of MMLU's development set
with four choices each, 285 of the same set in each of seven languages, 81 of BIG-Bench Hard and 8
of GSM8K. A definition of a task names these functions in ``custom_dataset``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset, DatasetDict
from lm_eval import tasks

FOLDER = Path(tasks.__file__).parent
LETTERS = "ABCDE"
# After the question come its choices on one line, from (A) on, and its answer on the next.
QUESTION = re.compile(
    r"(?P<question>.*?)\s*\(A\)(?P<choices>.*?)\nA: .*answer is \(?(?P<answer>[A-E])\)?",
    re.DOTALL,
)
NEXT_CHOICE = re.compile(r"\([B-E]\)")


def mmlu(**_: object) -> DatasetDict:
    """Return the 282 questions of MMLU in English: question, choices, index of the answer."""
    prompts = json.loads(
        (FOLDER / "mmlu" / "flan_cot_fewshot" / "_cot_prompts.json").read_text("utf-8")
    )
    return _test(
        {"subject": subject, **_with_choices(text)}
        for subject, prompt in prompts.items()
        for text in prompt.split("\n\nQ: ")[1:]
    )


def mmlu_in(language: str, **_: object) -> DatasetDict:
    """Return the 285 questions of MMLU in a language, by its two letters."""
    folder = FOLDER / "llama3" / "instruct" / f"mmlu_{language}"
    return _test(
        {
            "subject": path.stem,
            "question": one["input_question"].strip(),
            "choices": [str(choice) for choice in one["input_choice_list"].values()],
            "answer": LETTERS.index(one["input_correct_responses"][0]),
        }
        for path in sorted(folder.glob("mmlu_*.yaml"))
        for one in _examples(path)
    )


def bbh(**_: object) -> DatasetDict:
    """Return the 81 questions of BIG-Bench Hard: input and target."""
    return _test(
        {"subtask": path.stem, "input": one["input"], "target": str(one["target"])}
        for path in sorted((FOLDER / "bbh" / "fewshot").glob("[!_]*.yaml"))
        for one in _examples(path)
    )


def gsm8k(**_: object) -> DatasetDict:
    """Return the 8 questions of GSM8K: question, and target with its steps."""
    return _test(_examples(FOLDER / "gsm8k" / "gsm8k-cot.yaml"))


def _with_choices(text: str) -> dict[str, Any]:
    found = QUESTION.match(text)
    if found is None:
        message = f"This is no question with choices: {text[:80]!r}."
        raise ValueError(message)
    choices = [choice.strip() for choice in NEXT_CHOICE.split(found["choices"])]
    return {
        "question": found["question"].strip(),
        "choices": choices,
        "answer": LETTERS.index(found["answer"]),
    }


def _examples(path: Path) -> list[dict[str, Any]]:
    """Return the few-shot examples in a definition of the host."""
    # The functions that it names are not imported.
    loader = type("Loader", (yaml.SafeLoader,), {})
    yaml.add_multi_constructor("!function", lambda *_: None, Loader=loader)
    definition = yaml.load(path.read_text("utf-8"), Loader=loader)  # noqa: S506  (a safe one)
    samples: list[dict[str, Any]] = definition.get("fewshot_config", {}).get("samples", [])
    return samples


def _test(rows: Any) -> DatasetDict:
    return DatasetDict({"test": Dataset.from_list(list(rows))})
