from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.compare.compare import Options, compare_runs
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.stats.resampling import Bootstrap
from tests.results.run_files import write_run
from tests.vqa.vqa_files import edit_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moe_eval_plugin.results.compare.comparison import Comparison, TaskComparison
    from tests.results.run_files import Sample


QUICK = Bootstrap(n_resamples=200)


def sample(number: int, answer: Any = "red", score: Any = 1.0, **others: Any) -> Sample:
    return {
        "doc_id": number,
        "question_id": number * 10,
        "image_id": number // 2,
        "target": "red",
        "filtered_resps": answer,
        "vqa_accuracy": score,
        "score": score,
        "input": f"What colour is number {number}?",
        **others,
    }


def compare(
    folder: Path, a: Sequence[Sample], b: Sequence[Sample], **options: Any
) -> TaskComparison:
    first, second = (write_run(folder / name, {"okvqa": of}) for name, of in (("a", a), ("b", b)))
    return compare_files(first, second, **options).tasks[0]


def compare_files(a: Path, b: Path, task: str | None = None, **options: Any) -> Comparison:
    return compare_runs(read_run(a), read_run(b), task, Options(**{"bootstrap": QUICK, **options}))


def write_pair(folder: Path, *records: dict[str, Any]) -> tuple[Path, Path]:
    """Write two runs over one question, with a record of ours where one is given."""
    a, b = (write_run(folder / name, {"okvqa": [sample(1)]}) for name in "ab")
    for path, found in zip((a, b), records, strict=False):
        add_record(path, found)
    return a, b


def add_record(path: Path, found: dict[str, Any]) -> None:
    edit_json(path, lambda content: content.update(moe_eval={"okvqa": found}))
