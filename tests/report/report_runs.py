"""Finished runs in the form that lmms-eval writes, with answers that are known beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.statistics import compute
from moe_eval_plugin.report.read_series import read_series

if TYPE_CHECKING:
    from pathlib import Path

    from moe_eval_plugin.report.analysis.series_statistics import SeriesStatistics

import json
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.vqa.dataset import load_easy_vqa
from tests.results.sample_runs import DATE, easy_vqa, results_of_another_model
from tests.results.timing.timed_files import timed_pass, write_timed_pass
from tests.vqa.vqa_files import edit_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from pathlib import Path

    from moe_eval_plugin.vqa.dataset import Record

TASK = "easy_vqa"
N_LAYERS = 3
POST_PROMPT = "\nAnswer the question using a single word or phrase."
ATTACK = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"


def records(n: int) -> list[Record]:
    """Return the first questions of the demo's data set."""
    return list(load_easy_vqa().records[:n])


def one_per_image(n: int, answers: Container[str] | None = None) -> list[Record]:
    """Return the first question of each of so many images, of those with such answers."""
    first: dict[object, Record] = {}
    for one in load_easy_vqa().records:
        if answers is None or one["answers"][0] in answers:
            first.setdefault(one["image_id"], one)
    return list(first.values())[:n]


def wrong_every(step: int, text: str = "a wrong answer") -> Callable[[int, Record], str]:
    """Answer rightly but for every so-manieth question."""
    return lambda number, record: text if number % step == 0 else record["answers"][0]


def right(_: int, record: Record) -> str:
    """Answer every question rightly."""
    return record["answers"][0]


def write_run(
    folder: Path,
    k: int | None,
    answer: Callable[[int, Record], str] = right,
    questions: Sequence[Record] = (),
    *,
    rate: float = 10.0,
    pretrained: str = "demo",
    backend: str = "moe_hf",
    samples: bool = True,
) -> Path:
    """Write a run of our model at k, or as published; return its results file."""
    questions = questions or records(40)
    lines = [_sample(number, one, answer(number, one)) for number, one in enumerate(questions)]
    content = easy_vqa(k)
    content["config"]["model"] = backend
    content["moe_eval"][TASK]["provenance"]["pretrained"] = pretrained
    _set_scores(content, lines)
    _set_speed(content["moe_eval"][TASK], k or 8, rate, len(lines))
    return _write(folder, content, lines if samples else [])


def write_manifest(folder: Path, points: Mapping[str, Path], state: str = "done") -> None:
    """Write the manifest of a sweep, from the names of its points and their results files."""
    entries = {
        name: {
            "point": {},
            "digest": "",
            "state": state,
            "results": str(path.relative_to(folder)),
        }
        for name, path in points.items()
    }
    manifest = {"schema_version": 1, "kind": "sweep", "command": [], "settings": {}}
    write_json(folder / "manifest.json", {**manifest, "points": entries})


def write_sweep(
    folder: Path,
    wrong: Mapping[int, Callable[[int, Record], str]],
    seconds: Mapping[str, Sequence[float]] | None = None,
    questions: Sequence[Record] = (),
) -> Path:
    """Write a sweep with the answers at each k, and a timed pass if its seconds are given."""
    questions = questions or one_per_image(200)
    points = {
        f"k{k}": write_run(folder / f"k{k}", k, answer, questions, rate=40 / k)
        for k, answer in wrong.items()
    }
    write_manifest(folder, points)
    if seconds is not None:
        write_timed_pass(folder, timed_pass(seconds))
    return folder


def write_other_run(
    folder: Path, questions: Sequence[Record] = (), *, samples: bool = True
) -> Path:
    """Write a run of a model without k and without a record."""
    questions = questions or records(40)
    lines = [_sample(number, one, "yes") for number, one in enumerate(questions)]
    content = results_of_another_model(TASK)
    content["model_name"] = "another/model"
    content["configs"][TASK] = easy_vqa()["configs"][TASK]
    content["results"][TASK] = {"exact_match,none": 0.5, "exact_match_stderr,none": 0.01}
    content["higher_is_better"][TASK] = {"exact_match": True}
    _set_scores(content, lines)
    return _write(folder, content, lines if samples else [])


def set_question_types(results: Path, kind_of: Callable[[int], str]) -> None:
    """Set the type of each question of a run, by its number."""
    (samples,) = results.parent.glob("*_samples_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    typed = [{**line, "question_type": kind_of(number)} for number, line in enumerate(lines)]
    samples.write_text("".join(json.dumps(line) + "\n" for line in typed), encoding="utf-8")


def in_provenance(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["moe_eval"][TASK]["provenance"][name] = value

    return change


def prepare_beforehand(results: Path, seconds: float | None = 12.5) -> None:
    """Let a run be one point of a sweep that prepared its inputs before the clock ran."""

    def change(content: dict[str, Any]) -> None:
        provenance = content["moe_eval"][TASK]["provenance"]
        provenance["inputs"] = "encoded once for all points; encoding is not in wall_s"
        provenance["encode_s"] = {TASK: seconds}

    edit_json(results, change)


def write_bench(path: Path) -> Path:
    """Write a file of ``moe-eval bench`` with two k at two batch sizes."""

    def gain(value: float) -> dict[str, float]:
        return {"median": value, "smallest": value - 0.1, "largest": value + 0.1, "n": 3}

    points = [
        {
            "num_experts_per_tok": k,
            "batch_size": batch,
            "prefill_speedup": gain(8 / k / 1.5),
            "decode_speedup": gain(8 / k / 2),
            "prefill": {"speedup_ceiling": 8 / k},
            "decode": None,
        }
        for k in (8, 4)
        for batch in (1, 16)
    ]
    write_json(
        path,
        {
            "schema_version": 1,
            "kind": "bench",
            "model": {"name": "demo", "dtype": "bfloat16"},
            "device": {"name": "a processor"},
            "reference_num_experts_per_tok": 8,
            "points": points,
        },
    )
    return path


def _sample(number: int, record: Record, answer: str) -> dict[str, Any]:
    score = float(answer == record["answers"][0])
    return {
        "doc_id": number,
        "target": record["answers"][0],
        "filtered_resps": answer,
        "score": score,
        "exact_match": score,
        "question_id": record["question_id"],
        "image_id": record["image_id"],
        "input": record["question"] + POST_PROMPT,
    }


def _set_scores(content: dict[str, Any], lines: Sequence[dict[str, Any]]) -> None:
    mean = sum(line["score"] for line in lines) / len(lines)
    content["results"][TASK]["exact_match,none"] = mean
    content["n-samples"][TASK] = {"original": len(lines), "effective": len(lines)}
    config = content["configs"][TASK]
    config["dataset_kwargs"] = {"source": TASK}
    config["lmms_eval_specific_kwargs"] = {"pre_prompt": "", "post_prompt": POST_PROMPT}


def _set_speed(record: dict[str, Any], k: int, rate: float, n: int) -> None:
    wall_s = n / rate
    record["speed"] = {
        "n_samples": n,
        "n_output_tokens": 2 * n,
        "wall_s": wall_s,
        "samples_per_s": rate,
        "ttft_s": {"median": 0.1, "p95": 0.2, "n": n},
        "phases": {
            "vision_s": None,
            "prefill_s": 0.5 * wall_s,
            "decode_s": 0.3 * wall_s,
            "host_gap_s": 0.2 * wall_s,
            "wall_s": wall_s,
        },
    }
    record["hardware"] = {
        "joules": None,
        "peak_memory": {"allocated_bytes": None, "process_bytes": 2**30},
    }
    record["experts"]["routing"] = {
        "n_tokens": {"prefill": {"text": 60, "image": 40}, "decode": {"text": 4, "image": 0}},
        "layers": {f"model.layers.{layer}.mlp.experts": _layer(k) for layer in range(N_LAYERS)},
    }


def _layer(k: int) -> dict[str, Any]:
    return {
        "num_experts": 32,
        "observed_num_experts_per_tok": {
            "prefill": {"text": float(k), "image": float(k)},
            "decode": {"text": float(k), "image": None},
        },
        "load": {"entropy": 0.8, "gini": 0.3, "n_unused_experts": 2},
        "distinct_experts_per_step": {"prefill": {"mean": 3.0 * k}, "decode": None},
    }


def _write(folder: Path, content: dict[str, Any], lines: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if lines:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{DATE}_samples_{TASK}.jsonl").write_text(text, encoding="utf-8")
    path = folder / f"{DATE}_results.json"
    write_json(path, content)
    return path


def computed(path: Path, margin_points: float = 1.0) -> SeriesStatistics:
    (series,) = read_series([path])
    return compute(series, margin_points)
