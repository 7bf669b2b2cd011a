"""Tasks that lmms-eval ships get our rows beside their own scores, with our model and another one.

Two of them are run at once, by the command's entry point and without a network: their data set is
written into the cache of the datasets library, with questions and images of easy-VQA.
"""

from __future__ import annotations

import inspect
import json
import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from datasets import Dataset, DatasetInfo, Features, Image, Value
from datasets.arrow_writer import ArrowWriter
from datasets.features import List
from datasets.naming import camelcase_to_snakecase
from datasets.splits import SplitDict, SplitInfo

from moe_eval_plugin.hosts.lmms_eval import result_rows
from tests.cli.lmms_eval_runs import results_of
from tests.cli.programs import lmms_eval
from tests.hosts.lmms_eval.easy_requests import questions

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
REPOSITORY, SPLIT = "lmms-lab-encoder/LMMs-Eval-Lite", "lite"
CONFIGS = {"ok_vqa_val2014_lite": "ok_vqa_val2014", "textvqa_val_lite": "textvqa_val"}
N_QUESTIONS = {"ok_vqa_val2014_lite": 6, "textvqa_val_lite": 10}
FEATURES = Features(
    question_id=Value("string"),
    image=Image(),
    question=Value("string"),
    answers=List(Value("string")),
)
EXPERT_ROWS = {
    "baseline_num_experts_per_tok",
    "num_experts_per_tok",
    "observed_num_experts_per_tok",
}
SPEED_ROWS = {
    "samples_per_s",
    "output_tokens_per_s",
    "prefill_tokens_per_s",
    "ttft_s_median",
    "e2e_latency_s_median",
    "n_output_tokens_per_sample",
    "seconds_per_correct_answer",
    "peak_memory_gib",
}


def write_cache(folder: Path) -> None:
    """Write the data set as the library leaves it after a download."""
    *owner, name = REPOSITORY.split("/")
    snake = camelcase_to_snakecase(name)
    docs = questions(max(N_QUESTIONS.values()))
    for task, config in CONFIGS.items():
        rows = [
            {
                "question_id": str(number),
                "image": doc["image"],
                "question": doc["question"],
                "answers": [doc["answer"]] * 10,
            }
            for number, doc in enumerate(docs[: N_QUESTIONS[task]])
        ]
        place = folder / "___".join([*owner, snake]) / config / "0.0.0" / ("0" * 40)
        place.mkdir(parents=True)
        with ArrowWriter(
            path=str(place / f"{snake}-{SPLIT}.arrow"), features=FEATURES, embed_local_files=True
        ) as writer:
            writer.write_table(Dataset.from_list(rows, features=FEATURES).data.table)
            writer.finalize()
        split = SplitInfo(SPLIT, num_examples=len(rows), dataset_name=snake)
        DatasetInfo(
            features=FEATURES,
            builder_name="parquet",
            dataset_name=snake,
            config_name=config,
            version="0.0.0",
            splits=SplitDict({SPLIT: split}, dataset_name=snake),
        ).write_to_directory(str(place))


@pytest.fixture
def without_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Remove what adds our rows to the host's results."""
    from lmms_eval import evaluator

    def take_away() -> None:
        monkeypatch.setattr(result_rows, "add_rows_to_results", lambda: None)
        monkeypatch.setattr(evaluator, "evaluate", inspect.unwrap(evaluator.evaluate))

    return take_away


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the datasets library that holds the data set; the library has no other one."""
    folder = tmp_path / "cache"
    write_cache(folder)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder))
    return folder


def evaluate(folder: Path, model: str, model_args: str) -> dict[str, Any]:
    """Run both tasks offline; return the results, and the samples under ``samples``."""
    folder.mkdir()
    done = lmms_eval(
        *("--model", model, "--model_args", model_args, "--tasks", ",".join(CONFIGS)),
        *("--batch_size", "4", "--log_samples", "--output_path", folder / "out"),
        cwd=folder,
    )
    results = results_of(folder, done)
    files = {task: (folder / "out").rglob(f"*_samples_{task}.jsonl") for task in CONFIGS}
    samples = {
        task: [json.loads(line) for file in found for line in file.read_text("utf-8").splitlines()]
        for task, found in files.items()
    }
    return {**results, "samples": samples, "shown": done.stdout}


def compare(on: dict[str, Any], off: dict[str, Any], rows: set[str]) -> None:
    """Check that our rows are all that differs between a run with them and one without."""
    for task in CONFIGS:
        with_rows, alone = on["results"][task], off["results"][task]
        assert {name for name in with_rows if name not in alone} == {f"{one},none" for one in rows}
        assert {name: with_rows[name] for name in alone} == alone
        assert alone["exact_match,none"] > 0
        for name in rows:
            assert with_rows[f"{name},none"] > 0
            assert f"|{name}" in on["shown"].replace(" ", "")
        answers = [
            {one["doc_id"]: one["filtered_resps"] for one in of["samples"][task]}
            for of in (on, off)
        ]
        assert answers[0] == answers[1]
        assert len(answers[0]) == N_QUESTIONS[task]
        scores = [one["exact_match"] for one in on["samples"][task]]
        assert alone["exact_match,none"] == pytest.approx(sum(scores) / len(scores))
    assert "moe_eval" not in off


@pytest.mark.usefixtures("cache")
def test_our_model_gets_its_rows_and_the_scores_stay_the_same(
    tmp_path: Path, without_rows: Callable[[], None]
) -> None:
    model_args = "pretrained=demo,dtype=float32"
    on = evaluate(tmp_path / "on", "moe_hf", model_args)
    without_rows()
    off = evaluate(tmp_path / "off", "moe_hf", model_args)
    rows = EXPERT_ROWS | SPEED_ROWS
    if "joules_per_sample,none" in on["results"]["textvqa_val_lite"]:
        rows |= {"joules_per_sample"}
    compare(on, off, rows)
    for task, record in on["moe_eval"].items():
        score = on["results"][task]["exact_match,none"]
        assert record["score"] == {"metric": "exact_match", "value": score}
        assert record["speed"]["n_samples"] == N_QUESTIONS[task]
        assert record["experts"]["observed"] == 8
        per_answer = record["speed"]["wall_s"] / (score * N_QUESTIONS[task])
        assert record["speed"]["seconds_per_correct_answer"] == pytest.approx(per_answer)
        assert on["higher_is_better"][task]["samples_per_s"] is True
        assert on["higher_is_better"][task]["ttft_s_median"] is False


@pytest.mark.usefixtures("cache")
def test_a_model_of_the_host_gets_what_can_be_seen_from_outside(
    tmp_path: Path, without_rows: Callable[[], None]
) -> None:
    for module in ("decord", "qwen_vl_utils"):
        if find_spec(module) is None:
            pytest.skip(f"lmms-eval's qwen3_vl needs the module {module}")
    copy_model = runpy.run_path(str(ROOT / "benchmarks" / "overhead.py"))["copy_model"]
    model_args = f"pretrained={copy_model(tmp_path)},device=cpu,device_map=cpu,system_prompt="
    on = evaluate(tmp_path / "on", "qwen3_vl", model_args)
    without_rows()
    off = evaluate(tmp_path / "off", "qwen3_vl", model_args)
    compare(on, off, {"samples_per_s", "seconds_per_correct_answer"})
    for task, record in on["moe_eval"].items():
        assert record["experts"] is None
        assert record["hardware"]["peak_memory"] is None
        speed = {name: value for name, value in record["speed"].items() if value is not None}
        assert set(speed) == {
            "n_samples",
            "wall_s",
            "samples_per_s",
            "seconds_per_correct_answer",
        }
        assert speed["n_samples"] == N_QUESTIONS[task]
        assert record["provenance"]["timed"] == "from outside"
